"""Ids that prove themselves."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.gateway.ids import JOB_NUMBER, MAX_NUMBER, SignedIds, lines_of, number_of
from producers.uuid7 import unix_ms_of, uuid7

IDS = SignedIds(b"a secret of sixteen bytes")
TENANTS = st.text("abcXYZ019._-", min_size=1, max_size=64)
MOMENTS = st.integers(0, 2**48 - 1)
NUMBERS = st.integers(1, MAX_NUMBER)


@given(TENANTS, MOMENTS)
def test_an_id_is_a_version_7_uuid_of_its_time_that_its_tenant_owns(tenant: str, unix_ms: int) -> None:
    made = IDS.new(tenant, unix_ms)
    assert (made.version, unix_ms_of(made), number_of(made)) == (7, unix_ms, 0)
    assert IDS.is_ours(tenant, made)
    assert not IDS.is_our_job(tenant, made)


@given(TENANTS, MOMENTS)
def test_the_id_of_a_job_says_so_to_its_tenant(tenant: str, unix_ms: int) -> None:
    job = IDS.new_job(tenant, unix_ms)
    assert (job.version, unix_ms_of(job), number_of(job)) == (7, unix_ms, JOB_NUMBER)
    assert IDS.is_ours(tenant, job)
    assert IDS.is_our_job(tenant, job)
    assert not IDS.is_our_job(f"not {tenant}", job)


@given(TENANTS, MOMENTS, NUMBERS)
def test_a_line_has_one_id_that_lies_in_the_range_of_its_job(tenant: str, unix_ms: int, number: int) -> None:
    job = IDS.new_job(tenant, unix_ms)
    line = IDS.line(tenant, job, number)
    assert line == IDS.line(tenant, job, number)
    assert number_of(line) == number
    assert IDS.is_ours(tenant, line)
    assert not IDS.is_our_job(tenant, line)
    lines = lines_of(job)
    assert lines.first <= line <= lines.last
    assert not lines.first <= job <= lines.last


@given(NUMBERS, NUMBERS)
def test_lines_are_in_the_order_of_their_numbers(one: int, other: int) -> None:
    job = IDS.new_job("acme")
    assert (IDS.line("acme", job, one) < IDS.line("acme", job, other)) == (one < other)


@given(st.integers(0, 2**74 - 1), MOMENTS)
def test_an_id_that_was_not_given_out_is_not_ours(bits: int, unix_ms: int) -> None:
    forged = uuid7(unix_ms, bits)
    ours = IDS.is_ours("acme", forged)
    # One in 16 million is right by chance; then it is the one that we would have made.
    assert not ours or forged == IDS._signed("acme", unix_ms, bits >> 48, number_of(forged))


def test_another_tenants_id_and_another_secrets_are_not_ours() -> None:
    made = IDS.new("acme")
    assert not IDS.is_ours("other", made)
    assert not SignedIds(b"another secret, as long").is_ours("acme", made)
    assert not IDS.is_ours("acme", UUID(int=made.int ^ 1))
    assert not IDS.is_ours("acme", UUID("12345678-1234-4234-8234-123456789abc"))


def test_a_job_has_no_line_0_and_none_past_the_last() -> None:
    job = IDS.new_job("acme")
    for number in (0, -1, MAX_NUMBER + 1):
        with pytest.raises(ValueError, match="lines 1 to"):
            IDS.line("acme", job, number)


def test_a_short_secret_is_refused_with_the_setting_to_mend() -> None:
    with pytest.raises(ValueError, match="HEADRACE_GATEWAY_SECRET"):
        SignedIds(b"short")


@given(TENANTS, MOMENTS, NUMBERS)
def test_lines_that_are_numbered_together_have_the_same_ids(tenant: str, unix_ms: int, number: int) -> None:
    job = IDS.new_job(tenant, unix_ms)
    assert IDS.numbering(tenant, job)(number) == str(IDS.line(tenant, job, number))
