-- What wrk sends. The plan, a file that the environment names, says which codes and clients.
-- Each request has a code, a client and a visitor's address of its own, drawn at random.

local plan = dofile(os.getenv("WAYPOST_LOAD_PLAN"))
local random, floor = math.random, math.floor
local clients, addresses = plan.clients, plan.addresses
local octets, codes, unknown = {}

-- A file of codes, one a line, all of one length, as it is: a collector of garbage that went through a table of
-- a million would make every server wait for 30 ms at a time.
local function whole(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local LINE = 9

local function any(text)
  local at = (random(#text / LINE) - 1) * LINE
  return text:sub(at + 1, at + LINE - 1)
end

-- Called once for each thread, before the clock starts.
function init()
  math.randomseed(plan.seed)
  for number = 0, 255 do octets[number] = tostring(number) end
  codes, unknown = whole(plan.codes), whole(plan.unknown)
end

-- 1.0.0.0 to 223.255.255.255; the load itself comes from 127.0.0.1, which is a trusted proxy's.
local function address()
  local first, rest
  if addresses == 0 then
    first, rest = random(223), random(0, 16777215)
  else
    -- One of so many, spread over all networks; 2^20 of them at most, or the product would not be exact.
    local spread = random(addresses) * 2654435761 % 4294967296
    first, rest = floor(spread / 16777216) % 223 + 1, spread % 16777216
  end
  return octets[first] .. "." .. octets[floor(rest / 65536)] .. "." .. octets[floor(rest / 256) % 256] .. "." .. octets[rest % 256]
end

function request()
  local code
  if plan.unknown_one_in > 0 and random(plan.unknown_one_in) == 1 then
    code = any(unknown)
  else
    code = any(codes)
  end
  return "GET /" .. code .. clients[random(#clients)] .. address() .. plan.tail
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p99.9": %f, "refused": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
