-- What wrk sends to the gateway: requests nobody has asked before, or questions about ids that are known.
-- Arguments after "--": the key, then `submit`, `keyed` or the path of a file with one id a line.

local key, what = nil, nil
local ids = {}
local count = 0

function init(args)
  key, what = args[1], args[2]
  math.randomseed(os.time())
  wrk.headers["Authorization"] = "Bearer " .. key
  wrk.headers["Content-Type"] = "application/json"
  if what ~= "submit" and what ~= "keyed" then
    for line in io.lines(what) do ids[#ids + 1] = line end
  end
end

function request()
  if #ids > 0 then
    return wrk.format("GET", "/v1/requests/" .. ids[math.random(#ids)])
  end
  count = count + 1
  local own = math.random(1000000000) .. "-" .. count
  if what == "keyed" then wrk.headers["Idempotency-Key"] = own end
  local body = '{"user_id":"u-' .. count % 500 .. '","department":"noc","labels":{"device_name":"ams-' .. own ..
    '"},"prompt":"Which VLAN is native on port ' .. own .. '? ' .. string.rep("Answer in one line. ", 15) .. '"}'
  return wrk.format("POST", nil, nil, body)
end

-- The only line of wrk's output that is read.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"failed":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
