-- What wrk sends. The plan, a file that the environment names, says which codes and clients.
-- Each request has a code, a client and a visitor's address of its own, drawn at random.

local plan = dofile(os.getenv("WAYPOST_LOAD_PLAN"))
local random = math.random
local octets, codes, unknown, clients = {}, {}, {}, plan.clients

local function lines(path)
  local all = {}
  for line in io.lines(path) do all[#all + 1] = line end
  return all
end

-- Called once for each thread, before the clock starts.
function init()
  math.randomseed(plan.seed)
  for number = 0, 255 do octets[number] = tostring(number) end
  codes, unknown = lines(plan.codes), lines(plan.unknown)
end

function request()
  local code
  if plan.unknown_one_in > 0 and random(plan.unknown_one_in) == 1 then
    code = unknown[random(#unknown)]
  else
    code = codes[random(#codes)]
  end
  -- 1.0.0.0 to 223.255.255.255; the load itself comes from 127.0.0.1, which is a trusted proxy's.
  return "GET /" .. code .. clients[random(#clients)]
    .. octets[random(223)] .. "." .. octets[random(0, 255)] .. "." .. octets[random(0, 255)] .. "." .. octets[random(0, 255)]
    .. plan.tail
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p99.9": %f, "refused": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
