"""Counts in Redis, shared by all gateways: one script, one round trip for all counts of a call.

A script of ours and no library: a call is counted in up to a dozen buckets or in none. throttled-py, which has the same
algorithm for rates (GCRA), takes from one key per round trip and gives nothing back.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.quotas.port import Counted, CountersUnavailableError
from streams.quotas.rules import DAY_SECONDS, JOB_SECONDS, Bucket, JobPlaces, Level

# One hash tag: the script's keys must lie on one node of a cluster.
_PREFIX: Final = "{headrace:quotas:1}"
_TIMEOUT_SECONDS: Final = 0.5
"""A caller is not kept waiting longer for being counted."""
_GATEWAY_MEMORY_SECONDS: Final = 10

# The same as memory_counters.py, by the server's clock. Moments are written with six decimals: tostring keeps fewer.
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local day_seconds = tonumber(ARGV[2])
local today, until_midnight = math.floor(now / day_seconds), day_seconds - now % day_seconds
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))
redis.call('EXPIRE', KEYS[1], 60)
local function exact(value) return string.format('%.6f', value) end
local count = #KEYS - 1
local kept, levels, refused = {}, {}, false
local function bucket(i)
  local first = 4 * i
  return ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
end
local function level(i, cost)
  local kind, limit, burst = bucket(i)
  if kind == 'total' then
    local used = kept[i] + cost
    local wait = 0
    if cost > 0 and used > limit then wait = until_midnight end
    return math.max(0, math.floor(limit - used)), until_midnight, wait
  end
  local gap = 1 / limit
  local full_at = math.max(kept[i], now) + cost * gap
  local wait = full_at - now - burst * gap
  if cost == 0 or wait <= gap * 1e-6 + 2e-6 then wait = 0 end
  return math.max(0, math.floor(burst - (full_at - now) / gap + 1e-3)), full_at - now, wait
end
for i = 1, count do
  local kind, _, _, cost = bucket(i)
  if kind == 'total' then
    local was = redis.call('HMGET', KEYS[i + 1], 'day', 'used')
    kept[i] = tonumber(was[1]) == today and tonumber(was[2]) or 0
  else
    kept[i] = tonumber(redis.call('GET', KEYS[i + 1]) or 0)
  end
  levels[i] = {level(i, cost)}
  if levels[i][3] > 0 then refused = true end
end
local answer = {redis.call('ZCARD', KEYS[1])}
for i = 1, count do
  local kind, limit, _, cost = bucket(i)
  local remaining, reset, wait = levels[i][1], levels[i][2], levels[i][3]
  if refused then remaining, reset = level(i, 0)
  elseif kind == 'total' then
    if cost > 0 then
      redis.call('HSET', KEYS[i + 1], 'day', today, 'used', string.format('%.0f', kept[i] + cost))
      redis.call('EXPIRE', KEYS[i + 1], 2 * day_seconds)
    end
  elseif cost > 0 then
    redis.call('SET', KEYS[i + 1], exact(math.max(kept[i], now) + cost / limit), 'EX', math.ceil(reset) + 1)
  end
  answer[#answer + 1] = string.format('%.0f', remaining)
  answer[#answer + 1] = exact(reset)
  answer[#answer + 1] = exact(wait)
end
return answer
"""

_TAKE_PLACE: Final = """
local time = redis.call('TIME')
local now, job, memory = tonumber(time[1]) + tonumber(time[2]) / 1000000, ARGV[1], tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.6f', now - memory))
  if not redis.call('ZSCORE', key, job) and redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then return i end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'NX', string.format('%.6f', now), job)
  redis.call('EXPIRE', key, math.ceil(memory))
end
return 0
"""

_GIVE_PLACE: Final = """
for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end
return 0
"""


class RedisCounters:
    """See `Counters`; over a client it does not own. `gateway` is unique among those that share them."""

    def __init__(
        self, client: "Redis", gateway: str, prefix: str = _PREFIX, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self._take = client.register_script(_TAKE)
        self._take_place = client.register_script(_TAKE_PLACE)
        self._give_place = client.register_script(_GIVE_PLACE)
        self._gateway = gateway
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds

    async def take(self, buckets: Sequence[Bucket]) -> Counted:
        keys = [f"{self._prefix}:gateways", *(f"{self._prefix}:{each.name}:{each.owner}" for each in buckets)]
        counts = (value for each in buckets for value in (each.kind, each.limit, each.burst, each.cost))
        arguments = [self._gateway, DAY_SECONDS, _GATEWAY_MEMORY_SECONDS, *counts]
        gateways, *told = cast("list[Any]", await self._run(self._take, keys, arguments))
        levels = zip(told[::3], told[1::3], told[2::3], strict=True)
        return Counted(
            tuple(Level(int(left), float(reset), float(wait)) for left, reset, wait in levels), max(1, int(gateways))
        )

    async def take_place(self, places: Sequence[JobPlaces], job: str) -> JobPlaces | None:
        if not places:
            return None
        arguments = [job, JOB_SECONDS, *(place.limit for place in places)]
        full = int(await self._run(self._take_place, self._jobs_of(places), arguments))
        return places[full - 1] if full else None

    async def give_place(self, places: Sequence[JobPlaces], job: str) -> None:
        if places:
            await self._run(self._give_place, self._jobs_of(places), [job])

    def _jobs_of(self, places: Sequence[JobPlaces]) -> list[str]:
        return [f"{self._prefix}:{place.name}:{place.owner}" for place in places]

    async def _run(self, script: Any, keys: list[str], arguments: list[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await script(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise CountersUnavailableError(type(error).__name__) from error
