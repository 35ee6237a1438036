"""The buckets in Redis, shared by all workers: one script, one round trip for all that a worker has waiting.

A script of ours and no library: a call takes from three buckets or from none, what it did not use goes back, and a
worker asks for many calls at once. The libraries at hand take from one key per round trip and refuse to give back.
"""

import asyncio
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.limits.buckets import (
    BULK_SHARE,
    CLOCK_GRAIN_SECONDS,
    LANE_MEMORY_SECONDS,
    MAX_CREDIT_TOKENS,
    TURN_SECONDS,
    WORKER_MEMORY_SECONDS,
    BucketRules,
    BucketsUnavailable,
    Taken,
    Visit,
)
from streams.limits.rates import DIMENSIONS, NO_LIMIT, Rates

# One hash tag: the script's keys must lie on one node of a cluster.
_PREFIX: Final = "{headrace:limits:1}"
_TIMEOUT_SECONDS: Final = 0.5
"""A worker that waits longer for its buckets loses more than its own share would cost it."""
_REASONS: Final = ("none", *DIMENSIONS, "turn", "lane")

# The same as memory_buckets.py, by the server's clock. Moments are written with six decimals: tostring keeps fewer.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function number(index) return tonumber(ARGV[index]) end
local burst, ahead, caps, age = number(2), number(3), ARGV[7] == '1', number(17)
local no_limit, share, most_credit, lane_memory = number(20), number(21), number(22), number(23)
local interactive_asks, bulk_asks, first = number(18), number(19), 27
local turn = number(26)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - number(24))

local kept = redis.call('HMGET', KEYS[1], 'full1', 'full2', 'full3', 'told1', 'told2', 'told3',
  'limit1', 'limit2', 'limit3', 'bulk_credit', 'interactive_until', 'bulk_until')
local full, told, limit, gap, rate = {}, {}, {}, {}, {}
local credit = tonumber(kept[10]) or 0
local interactive_until, bulk_until = tonumber(kept[11]) or 0, tonumber(kept[12]) or 0
for i = 1, 3 do
  full[i], told[i], limit[i] = tonumber(kept[i]) or 0, tonumber(kept[3 + i]) or 0, tonumber(kept[6 + i]) or -1
  local configured, remaining = number(3 + i), number(13 + i)
  if number(10 + i) >= 0 then limit[i] = number(10 + i) end
  rate[i] = configured
  if limit[i] >= 0 then
    if configured >= 0 and caps then rate[i] = math.min(configured, limit[i])
    elseif limit[i] < no_limit then rate[i] = limit[i] else rate[i] = -1 end
  end
  if rate[i] >= 0 then
    gap[i] = 60 / math.max(rate[i], 1e-9)
    full[i] = math.max(full[i], now) + number(7 + i) * gap[i]
    told[i] = told[i] + number(7 + i) * gap[i]
    if remaining >= 0 then told[i] = now + burst + (1 - remaining - age / gap[i]) * gap[i] end
  end
end

local function start_from(earliest)
  local moment, reason = earliest, 0
  for i = 1, 3 do
    if gap[i] then
      local own = math.max(full[i], told[i]) - burst
      if own > moment then moment, reason = own, i end
    end
  end
  return moment, reason
end
-- While other workers wait too, one visit takes no more than its turn's worth, so that each of them gets turns.
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - lane_memory)
redis.call('ZREM', KEYS[3], ARGV[1])
local function start() return start_from(now) end
local others, began, granted = redis.call('ZCARD', KEYS[3]), start_from(now - burst), 0
local delays = {}
local function input_of(ask) return number(first + 2 * ask) end
local function output_of(ask) return number(first + 2 * ask + 1) end
local function tokens(ask) return input_of(ask) + output_of(ask) end
local function grant(ask)
  local moment = start()
  if moment > now + ahead + number(25) then return false end
  if others > 0 and granted > 0 and start_from(now - burst) - began >= turn then return false end
  granted = granted + 1
  local amounts = {1, input_of(ask), output_of(ask)}
  for i = 1, 3 do
    if gap[i] then
      full[i] = math.max(full[i], now) + amounts[i] * gap[i]
      told[i] = told[i] + amounts[i] * gap[i]
    end
  end
  delays[ask] = string.format('%.6f', moment - now)
  return true
end

local interactive, bulk = 0, 0
if interactive_asks > 0 or interactive_until > now then
  while bulk < bulk_asks do
    local ask = interactive_asks + bulk
    if credit < math.min(tokens(ask), most_credit) or not grant(ask) then break end
    credit, bulk = credit - tokens(ask), bulk + 1
  end
end
local bulk_waits = bulk_asks > 0 or bulk_until > now
while interactive < interactive_asks and grant(interactive) do
  if bulk_waits then credit = math.min(credit + tokens(interactive) * share / (1 - share), most_credit) end
  interactive = interactive + 1
end
if interactive < interactive_asks then interactive_until = now + lane_memory end
if interactive_until <= now then
  while bulk < bulk_asks and grant(interactive_asks + bulk) do bulk = bulk + 1 end
end
if bulk < bulk_asks then bulk_until = now + lane_memory end

local moment, reason = start()
local wait = math.max(0, moment - now - ahead)
if interactive == interactive_asks and bulk == bulk_asks then wait, reason = 0, 0
else
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('EXPIRE', KEYS[3], 60)
  if moment > now then
    if granted > 0 then wait = math.max(wait, (others + 1) * turn) end
  elseif others > 0 and granted > 0 then reason = 4
  else wait, reason = lane_memory / 5, 5 end
end
local function exact(value) return string.format('%.6f', value) end
redis.call('HSET', KEYS[1], 'full1', exact(full[1]), 'full2', exact(full[2]), 'full3', exact(full[3]),
  'told1', exact(told[1]), 'told2', exact(told[2]), 'told3', exact(told[3]),
  'limit1', limit[1], 'limit2', limit[2], 'limit3', limit[3], 'bulk_credit', exact(credit),
  'interactive_until', exact(interactive_until), 'bulk_until', exact(bulk_until))
redis.call('EXPIRE', KEYS[1], 3600)
local answer = {interactive, bulk, exact(wait), reason, exact(rate[1]), exact(rate[2]), exact(rate[3]),
  redis.call('ZCARD', KEYS[2])}
for ask = 0, interactive - 1 do answer[#answer + 1] = delays[ask] end
for ask = interactive_asks, interactive_asks + bulk - 1 do answer[#answer + 1] = delays[ask] end
return answer
"""


class RedisBuckets:
    """Buckets over a client it does not own; `worker` is unique among those that share them."""

    def __init__(self, client: "Redis", rules: BucketRules, worker: str) -> None:
        self._script = client.register_script(_SCRIPT)
        self._rules = rules
        self._worker = worker

    async def visit(self, visit: Visit) -> Taken:
        """See `Buckets.visit`."""
        family = f"{_PREFIX}:family:{visit.family}"
        keys = [family, f"{_PREFIX}:workers", f"{family}:waiting"]
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                answer = await self._script(keys=keys, args=self._arguments(visit))
        except (RedisError, OSError, TimeoutError) as error:
            raise BucketsUnavailable(type(error).__name__) from error
        return _taken(cast("list[bytes]", answer))

    def _arguments(self, visit: Visit) -> list[str | float]:
        configured, seen = self._rules.configured(visit.family), visit.seen
        asks = [*visit.interactive, *visit.bulk]
        return [
            self._worker,
            self._rules.burst_seconds,
            self._rules.ahead_seconds,
            *_told(configured.rates),
            int(configured.caps),
            *visit.corrections,
            *_told(seen.limits if seen else Rates()),
            *_told(seen.remaining if seen else Rates()),
            visit.seen_age_seconds,
            len(visit.interactive),
            len(visit.bulk),
            NO_LIMIT,
            BULK_SHARE,
            MAX_CREDIT_TOKENS,
            LANE_MEMORY_SECONDS,
            WORKER_MEMORY_SECONDS,
            CLOCK_GRAIN_SECONDS,
            TURN_SECONDS,
            *(tokens for ask in asks for tokens in (ask.input_tokens, ask.output_tokens)),
        ]


def _told(rates: Rates) -> list[float]:
    return [-1.0 if rate is None else rate for rate in rates]


def _taken(answer: "list[bytes]") -> Taken:
    interactive, bulk, wait, reason, *rest = answer
    granted = [float(delay) for delay in rest[4:]]
    rates = (float(rate) for rate in rest[:3])
    return Taken(
        granted[: int(interactive)],
        granted[int(interactive) : int(interactive) + int(bulk)],
        float(wait),
        _REASONS[int(reason)],
        Rates(*(None if rate < 0 else rate for rate in rates)),
        int(rest[3]),
    )
