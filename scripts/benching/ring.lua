-- Makes wrk send the requests of a file byte for byte, and print what it measured in one line that a program can read.
-- Arguments: the file, with one request or several that are separated by NUL bytes.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local ring, size, turn = {}, 0, 0
  for request in text:gmatch("%Z+") do
    size = size + 1
    ring[size] = request
  end
  if size == 1 then
    -- wrk asks format() once and then sends that request without entering Lua again.
    wrk.format = function() return text end
  else
    -- One addition and one look-up per request: the client must not be what is measured.
    request = function()
      turn = turn % size + 1
      return ring[turn]
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    "measured requests=%d bytes=%.0f duration_us=%.0f p50_us=%.0f p99_us=%.0f connect=%d read=%d write=%d timeout=%d status=%d",
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
