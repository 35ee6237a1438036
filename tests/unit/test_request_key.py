"""Under which key a request is paid."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.request import CachePolicy
from streams.request_key import request_key_of
from tests.builders import an_id
from tests.paying import asked

numbers = st.integers(0, 5)
modes = st.sampled_from(["use", "refresh", "bypass"])
tenants = st.sampled_from(["meridian", "aurora", "a"])


def test_requests_with_one_question_share_a_key_whether_or_not_they_want_it_fresh() -> None:
    assert request_key_of(asked(1)) == request_key_of(asked(2)) == request_key_of(asked(3, "refresh"))


def test_a_request_that_shares_nothing_has_a_key_of_its_own_and_the_same_again() -> None:
    keys = {request_key_of(asked(number, "bypass")) for number in (1, 2, 2)}
    assert len(keys) == 2
    assert request_key_of(asked(1)) not in keys


@given(numbers, numbers, modes, modes, tenants, tenants)
def test_no_key_crosses_tenants_and_bypass_meets_nobody(
    one: int, other: int, one_mode: str, other_mode: str, one_tenant: str, other_tenant: str
) -> None:
    first = asked(one, one_mode, tenant=one_tenant)
    second = asked(other, other_mode, tenant=other_tenant)
    shared = one_tenant == other_tenant and (
        (one, one_mode) == (other, other_mode) or "bypass" not in {one_mode, other_mode}
    )
    assert (request_key_of(first) == request_key_of(second)) == shared


def test_a_tenant_comes_first_so_that_its_rows_can_be_told() -> None:
    work = asked(1, cache=CachePolicy(mode="bypass"))
    assert request_key_of(work).split(":") == ["meridian", work.fingerprint, str(an_id(1))]
