# SPDX-License-Identifier: Apache-2.0
"""The lab's Internet: who has which address, and what its name server says.

Addresses look public, because those of documentation are refused by what is
tested. They are the lab's own: nothing routes there from its namespaces."""

NET4, NET6 = "45.90.0.0/16", "2a0e:97c0::/32"
DNS4, DNS6 = "45.90.0.53", "2a0e:97c0::53"
WORLD_LAN4, WORLD_LAN6 = "10.77.0.1", "2a0e:97c1::1"
HOST_LAN4, HOST_LAN6 = "10.77.0.2", "2a0e:97c1::2"
HOST_PUBLIC4, HOST_PUBLIC6 = "91.198.10.2", "2a0e:97c2::2"
SILENT4, SILENT6 = "45.90.9.9", "2a0e:97c0:9::9"

# Places that a command might try on its own, and that would answer.
STRANGERS4 = ["8.8.8.8", "1.1.1.1", "169.254.169.254", "100.100.100.200", "192.168.1.1",
              "172.17.0.1", "10.0.0.5", "93.184.216.34", "198.18.0.77"]
STRANGERS6 = ["2001:4860:4860::8888", "fd00:ec2::254", "fd00::5", "2606:2800:220::1",
              "64:ff9b::7f00:1", "2002:7f00:1::1", "fd53:6e62::77"]

_SITES = ["web.example.net", "secure.example.net", "git.example.net", "ssh.example.net",
          "db.example.net", "cache.example.net", "echo.example.net", "other.example.net",
          "a.wild.example.org", "deep.b.wild.example.org", "wild.example.org",
          "evil-wild.example.org", "proxy.example.net", "crates.example.net"]


def both(n):
    return {"A": ["45.90.1.%d" % n], "AAAA": ["2a0e:97c0:1::%x" % n]}


def special(four=None, six=None):
    return {"A": [four] if four else [], "AAAA": [six] if six else []}


ZONE = {name: both(i + 10) for i, name in enumerate(_SITES)}
ZONE.update({
    "only4.example.net": special("45.90.1.100"),
    "only6.example.net": special(None, "2a0e:97c0:1::100"),
    "silent.example.net": special(SILENT4, SILENT6),
    # The first address of each family is silent, the second answers.
    "half.example.net": {"A": [SILENT4, "45.90.1.101"], "AAAA": [SILENT6, "2a0e:97c0:1::101"]},
    "alias.example.net": {"CNAME": "web.example.net"},
    "farm.example.net": {"A": ["45.90.2.%d" % i for i in range(1, 21)], "AAAA": []},
    # Where names must not lead.
    "loop4.bad.example.net": special("127.0.0.1"),
    "loop6.bad.example.net": special(None, "::1"),
    "zero.bad.example.net": special("0.0.0.0", "::"),
    "meta4.bad.example.net": special("169.254.169.254"),
    "meta6.bad.example.net": special(None, "fd00:ec2::254"),
    "link4.bad.example.net": special("169.254.3.4"),
    "link6.bad.example.net": special(None, "fe80::1"),
    "private4.bad.example.net": special("10.0.0.5"),
    "private192.bad.example.net": special("192.168.1.1"),
    "private172.bad.example.net": special("172.17.0.1"),
    "ula.bad.example.net": special(None, "fd00::5"),
    "carrier.bad.example.net": special("100.100.100.200"),
    "nat64.bad.example.net": special(None, "64:ff9b::7f00:1"),
    "sixtofour.bad.example.net": special(None, "2002:7f00:1::1"),
    "mapped.bad.example.net": special(None, "::ffff:127.0.0.1"),
    "own4.bad.example.net": special(HOST_LAN4),
    "ownpublic4.bad.example.net": special(HOST_PUBLIC4),
    "own6.bad.example.net": special(None, HOST_LAN6),
    "synth4.bad.example.net": special("198.18.0.77"),
    "synth6.bad.example.net": special(None, "fd53:6e62::77"),
    "cname.bad.example.net": {"CNAME": "loop4.bad.example.net"},
    "cloop.bad.example.net": {"CNAME": "cloop.bad.example.net"},
    "mixed.bad.example.net": {"A": ["127.0.0.1", "45.90.1.102"], "AAAA": []},
})
# Odd questions get the good answer, even ones loopback: see World.answer().
REBIND = "rebind.bad.example.net"
NEVER = "never.example.net"       # no answer at all
BROKEN = "broken.example.net"     # SERVFAIL
EMPTY = "empty.example.net"       # there, without addresses

CERTIFIED = ["*.example.net", "*.example.org", "*.wild.example.org", "*.b.wild.example.org"]

# Ports of the world; any address of it answers there.
HTTP, HTTPS, SSH, ECHO, GREET, BULK, POSTGRES, REDIS = 80, 443, 22, 7, 2525, 5001, 5432, 6379
CROWD, RESET = 7777, 7778         # echo for thousands; resets after the first byte
HTTP2 = 8444                      # HTTP/2 in TLS and nothing else
PLAIN_ON_443 = 8443               # not TLS, whatever the port looks like
CLOSED = 4444
UDP_ECHO = [443, 123, 5353, 7]
# Ports of the host, each on loopback or on every address.
HOST_LOOPBACK, HOST_ANY, HOST_ABSTRACT = 7001, 7002, "netlab-host"
