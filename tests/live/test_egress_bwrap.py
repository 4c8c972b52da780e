# SPDX-License-Identifier: Apache-2.0
"""A network of names in a namespace that bubblewrap made: what holds where init makes it
holds there too."""

import pytest

import netlab_zone as zone
from netlab import allow
from test_egress_denied import (  # noqa: F401
    gate, test_addresses_of_the_prefix_that_mean_no_name, test_datagrams_to_addresses,
    test_datagrams_to_names, test_fast_open, test_literal_addresses, test_multipath,
    test_namespaces_lead_nowhere, test_nothing_when_the_list_is_empty, test_other_name_servers,
    test_other_sockets, test_the_hosts_abstract_sockets, test_the_hosts_loopback, test_unlisted_names,
    test_unlisted_ports)
from test_egress_life import (  # noqa: F401
    start, test_a_command_without_network_use, test_a_port_is_published_once, test_a_published_port,
    test_addresses_stay_after_its_death, test_denials_are_told, test_it_starts_when_first_needed,
    test_its_death_closes_everything, test_localhost_is_the_sandboxs_own, test_many_bytes_both_ways,
    test_nothing_is_left_in_the_hosts_namespace, test_proxy_variables,
    test_published_although_nobody_listens, test_publishing_needs_no_way_out, test_servers_inside,
    test_the_end_of_the_supervisor_is_the_end_of_it)
from test_egress_names import (  # noqa: F401
    tcp, test_allowed_names_get_synthetic_addresses, test_another_prefix,
    test_each_family_inside_reaches_each_outside, test_looking_up_asks_nobody, test_odd_names,
    test_resolv_conf_inside, test_reverse, test_unlisted_names_are_told_so_at_once)
from test_egress_programs import (  # noqa: F401
    test_curl_by_the_proxy, test_curl_http, test_curl_https, test_curl_refuses_others, test_dig,
    test_getent, test_nc_where_the_server_speaks_first, test_node, test_python,
    test_python_asyncio, test_wget)
from test_egress_rules import (  # noqa: F401
    test_a_denial_wins, test_a_range_of_ports, test_a_service_of_the_hosts_loopback_by_explicit_rule,
    test_addresses_by_explicit_rule, test_names_that_lead_inside, test_tls_wants_the_name, test_wildcards)

pytestmark = pytest.mark.modes("bwrap", "bwrap-user")


def test_the_files_of_names_are_covered_and_stay(net):
    """Read-only, with what the plan says, and the host's are as they were."""
    result = net.sh("for f in resolv.conf hosts nsswitch.conf; do echo x >>/etc/$f; "
                    "chmod 777 /etc/$f; rm -f /etc/$f; done 2>/dev/null; cat /etc/resolv.conf",
                    flags=allow("web.example.net:80"))
    assert result.text.startswith("nameserver 198.18.0.1\n"), result
    outside = net.call("/bin/cat", "/etc/resolv.conf").text
    assert zone.DNS4 in outside and "198.18." not in outside


def test_the_proof(net):
    result = net.call(net.immure, "prove", *allow("web.example.net:80"), timeout=120)
    assert result.code == 0, result


def test_what_cannot_be_entered_is_refused(net):
    """Where the helper may not join the namespaces, nothing runs."""
    result = net.run("/bin/touch", "ran", flags=allow("web.example.net:80"), without="setns")
    assert result.code == 125 and not (net.ws / "ran").exists(), result
    plan = net.call(net.immure, "plan", *allow("web.example.net:80"), "--", "/bin/true",
                    without="setns")
    assert "bwrap_net" in plan.text, plan
