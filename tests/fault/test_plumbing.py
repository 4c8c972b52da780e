# SPDX-License-Identifier: Apache-2.0
"""Each call that makes the session's side of a limited network fails once: the run
is refused, or the network that comes is the same. Never a wider one."""

import shutil

import pytest

CALLS = {"socket": "EMFILE", "bind": "EADDRINUSE", "listen": "EADDRINUSE", "setsockopt": "EPERM",
         "sendto": "EPERM", "sendmsg": "ENOBUFS", "getsockname": "ENOBUFS", "recvfrom": "EIO",
         "epoll_create1": "EMFILE", "epoll_ctl": "ENOSPC", "recvmsg": "EIO"}
WHEN = (1, 2, 3, 4, 6, 9, 14, 20)

PROBE = r"""
import errno, socket
open('mark', 'w').close()
wrong = []
for family, kind, to, want in ((socket.AF_INET, socket.SOCK_STREAM, ('192.0.2.1', 443),
                                (errno.EACCES, errno.ECONNREFUSED)),  # a route, or who was asked
                               (socket.AF_INET, socket.SOCK_DGRAM, ('192.0.2.1', 53), (errno.EACCES,)),
                               (socket.AF_INET6, socket.SOCK_STREAM, ('2001:db8::1', 443),
                                (errno.EACCES, errno.ENETUNREACH, errno.ECONNREFUSED)),
                               (socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', 9), (errno.ECONNREFUSED,))):
    s = socket.socket(family, kind)
    s.settimeout(5)
    try:
        s.connect(to)
        if kind == socket.SOCK_DGRAM: s.send(b'x')
        wrong.append(to)
    except OSError as e:
        if e.errno not in want: wrong.append((to, e.errno))
if [n for _, n in socket.if_nameindex() if n != 'lo']: wrong.append('interfaces')
if not open('/etc/resolv.conf').read().startswith('nameserver 198.18.0.1\n'): wrong.append('resolv.conf')
print('same' if not wrong else wrong)
"""


@pytest.mark.modes("root", "user")
def test_each_step_of_the_plumbing_fails_once(site):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    refused = same = killed = 0
    wrong = []
    for call, error in CALLS.items():
        for when in WHEN:
            result = site.call("strace", "-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e",
                               f"trace={call}", "-e", f"inject={call}:error={error}:when={when}", "--",
                               site.immure, "run", "--net", "limited", "--allow", "a.example:443",
                               "--allow", "198.51.100.0/24:80", "--", "/usr/bin/python3", "-c", PROBE)
            ran = (site.ws / "mark").exists()
            if result.code == 125 and not ran and result.errors.startswith("immure: "):
                refused += 1
            elif result.code == 0 and result.out == b"same\n":
                same += 1
            elif result.code == 137 and result.out in (b"", b"same\n"):
                killed += 1  # the line between init and supervisor was cut: all of it ends
            else:
                wrong.append((call, when, result))
            (site.ws / "mark").unlink(missing_ok=True)
    assert not wrong, wrong[:5]
    assert refused > 20 and same > 5 and killed < 8, (refused, same, killed)
