# SPDX-License-Identifier: Apache-2.0
"""Inside TLS where bubblewrap made the namespaces: what holds where init makes them holds there too."""

import pytest

from test_intercept import (  # noqa: F401
    impostors, test_a_denial_inside, test_a_server_that_cannot_prove_itself, test_curl,
    test_each_session_has_its_own_authority, test_later_requests_are_judged_as_well,
    test_methods_and_paths, test_nobody_else_is_trusted_with_sole, test_only_hosts_that_ask_for_it,
    test_programs_trust_the_sessions_authority, test_the_files_of_trust_cannot_be_written,
    test_the_name_in_tls_and_in_the_request, test_without_it_nothing_goes_on_and_the_next_one_is_the_same, way)
from test_intercept_secrets import (  # noqa: F401
    test_it_is_nowhere_else, test_it_is_sent_and_not_seen, test_only_by_verified_tls,
    test_the_placeholder_elsewhere, test_what_the_client_sends_itself_is_replaced, value)

pytestmark = pytest.mark.modes("bwrap", "bwrap-user")
