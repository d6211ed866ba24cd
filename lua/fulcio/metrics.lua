--- Counts what happens and prints it for Prometheus.
---
--- A series lives in the shared counters under `name labels part`, divided
--- by one control character; `part` is empty, "sum", or a bucket's number.
--- Numbers of one bucket are its own; they are added up when printed.

local engine = require("fulcio.engine")

local SEPARATOR = "\31"
local MAX_SERIES = 100   -- of one name; what comes later counts as "other"
local MAX_LABEL = 80     -- bytes; a key of shared counters holds 240

local latency = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local stage = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local rpc = { "grpc_type", "grpc_service", "grpc_method" }
local rpc_code = { "grpc_type", "grpc_service", "grpc_method", "grpc_code" }

-- name = { type, help, label names, buckets }
local families = {
  fulcio_new_certs = { "counter", "Certificates handed out" },
  fulcio_api_latency = { "histogram", "Seconds an API request took",
                         { "code", "method" }, latency },
  http_requests_total = { "counter", "HTTP requests answered",
                          { "code", "method" } },
  grpc_server_started_total = { "counter", "Calls begun", rpc },
  grpc_server_handled_total = { "counter", "Calls answered", rpc_code },
  grpc_server_msg_received_total = { "counter", "Messages received", rpc },
  grpc_server_msg_sent_total = { "counter", "Messages sent", rpc },
  fulcio_certificates_total = { "counter", "Certificates by issuer",
                                { "issuer" } },
  fulcio_refusals_total = { "counter", "Requests refused",
                            { "reason", "issuer" } },
  fulcio_stage_seconds = { "histogram", "Seconds a stage of issuing took",
                           { "stage" }, stage },
  fulcio_issuer_fetches_total = { "counter", "Fetches of issuers' keys",
                                  { "result" } },
  fulcio_ca_signatures_total = { "counter", "Signatures asked of the CA",
                                 { "result" } },
  fulcio_ct_submissions_total = { "counter", "Submissions to the CT log",
                                  { "result" } },
  fulcio_ctlog_entries_total = { "counter", "Entries our own log took" },
  fulcio_ctlog_commits_total = { "counter", "Transactions of our own log",
                                 { "result" } },
  fulcio_ca_up = { "gauge", "Whether the CA could sign (1) or not (0)" },
  fulcio_ct_up = { "gauge", "Whether the CT log answers (1) or not (0)" },
  fulcio_build_info = { "gauge", "The program's version", { "version" } },
  fulcio_processes = { "gauge", "Processes of this server" },
  process_cpu_seconds_total = { "counter",
                                "Processor seconds of all processes" },
  process_resident_memory_bytes = { "gauge",
                                    "Resident memory of all processes" },
  process_virtual_memory_bytes = { "gauge",
                                   "Virtual memory of all processes" },
  process_open_fds = { "gauge", "Open file descriptors of the process that"
                                .. " has the most" },
  process_max_fds = { "gauge", "File descriptors that a process may open" },
  process_start_time_seconds = { "gauge", "When the server started" },
}

-- Names of gRPC's statuses, as grpc_server_handled_total has them.
local code_names = {
  [0] = "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded",
  "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
  "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal",
  "Unavailable", "DataLoss", "Unauthenticated",
}

local methods = { GET = "get", POST = "post", HEAD = "head",
                  OPTIONS = "options", PUT = "put", DELETE = "delete" }

local local_counts, gauges = {}, {}
-- Of this store: what adds to each series, how many there are of a family,
-- what a call adds to.
local known, series, calls = {}, {}, {}

local local_store = {
  count = function(key, by)
    local_counts[key] = (local_counts[key] or 0) + (by or 1)
  end,
  counts = function() return local_counts end,
}

local shared = engine.server
local store = shared and shared.count and shared or local_store

local function label(name, value)
  value = tostring(value):sub(1, MAX_LABEL):gsub("%c", "?")
    :gsub('[\\"]', "\\%0")
  return ('%s="%s"'):format(name, value)
end

local function labels(names, values)
  local out = {}
  for i, name in ipairs(names or {}) do
    out[i] = label(name, values[i] == nil and "" or values[i])
  end
  return table.concat(out, ",")
end

local function make_key(name, ...)
  local family = families[name]
  if not family then error(("no metric %q"):format(tostring(name)), 3) end
  local values = { ... }
  local count = (series[name] or 0) + 1
  local many = count > MAX_SERIES
  if many then
    for i in ipairs(family[3]) do values[i] = "other" end
  else
    series[name] = count
  end
  local text = labels(family[3], values)
  return name .. SEPARATOR .. text .. SEPARATOR, many
end

-- A function that adds to a counter.
local function counter(key)
  if store.counter then return store.counter(key) end
  return function() store.count(key, 1) end
end

-- A function that puts seconds into a histogram.
local function histogram(key, buckets)
  local keys, count = {}, #buckets
  for i = 1, count + 1 do keys[i] = key .. i end
  keys[count + 2] = key .. "sum"
  if store.histogram then return store.histogram(keys, buckets) end
  return function(seconds)
    local i = 1
    while buckets[i] and seconds > buckets[i] do i = i + 1 end
    store.count(keys[i], 1)
    store.count(keys[count + 2], seconds)
  end
end

-- Makes what adds to a series. Those that became "other" are not remembered:
-- what comes from outside must not fill this process.
local function learn(make, name, a, b, c, d)
  local key, many = make_key(name, a, b, c, d)
  local add = make(key, families[name][4])
  if many then return add end
  local at = known
  for _, value in ipairs({ name, a, b, c, d }) do
    at[value] = at[value] or {}
    at = at[value]
  end
  at[make] = add
  return add
end

-- Counting makes no garbage: known[name][a][b][c][d][make] adds.
local function adder(make, name, a, b, c, d)
  local at = known[name]
  if at and a ~= nil then at = at[a] end
  if at and b ~= nil then at = at[b] end
  if at and c ~= nil then at = at[c] end
  if at and d ~= nil then at = at[d] end
  return at and at[make] or learn(make, name, a, b, c, d)
end

local M = {}

--- What /metrics is, for its content-type header.
M.content_type = "text/plain; version=0.0.4; charset=utf-8"

--- Counts somewhere else than in the process's shared counters: a table
--- with `count(key, by)` and `counts()`; nil: in this Lua state.
function M.use(other)
  store = other or local_store
  local_counts = {}
  known, series, calls = {}, {}, {}
end

--- Adds one to a counter; its label values follow in the family's order.
function M.count(name, a, b, c, d)
  adder(counter, name, a, b, c, d)()
end

--- Puts seconds into a histogram.
function M.observe(name, seconds, a, b)
  adder(histogram, name, a, b)(seconds)
end

--- A function that puts seconds into one series of a histogram.
function M.timer(name, a, b)
  local add, of
  return function(seconds)
    if of ~= store then add, of = adder(histogram, name, a, b), store end
    add(seconds)
  end
end

--- Counts one answered HTTP request: method, status, seconds.
function M.served(method, status, seconds)
  method = methods[method] or "other"
  M.count("http_requests_total", status, method)
  M.observe("fulcio_api_latency", seconds, status, method)
end

-- What a call adds to.
local function call_counters(path, kind, code)
  local service, name = path:match("^/(.-)/(.*)$")
  local function of(family, ...)
    return adder(counter, family, kind, service, name, ...)
  end
  return {
    of("grpc_server_started_total"), of("grpc_server_msg_received_total"),
    of("grpc_server_handled_total", code_names[code] or "Unknown"),
    code == 0 and of("grpc_server_msg_sent_total") or nil,
  }
end

--- Counts one answered call by its gRPC path, which must be one that
--- exists, gRPC status, and kind ("unary" when nil).
function M.called(path, code, kind)
  local by_code = calls[path]
  if not by_code then
    by_code = {}
    calls[path] = by_code
  end
  local counters = by_code[code]
  if not counters then
    counters = call_counters(path, kind or "unary", code)
    by_code[code] = counters
  end
  for i = 1, #counters do counters[i]() end
end

--- Counts one certificate, and its issuer.
function M.issued(issuer)
  M.count("fulcio_new_certs")
  M.count("fulcio_certificates_total", issuer)
end

--- Counts a refusal. An issuer is only named when a policy names it or it
--- has signed the token: what a token says by itself must not make series.
function M.refused(refused)
  local details = refused.log
  local issuer = refused.issuer or details.issuer
  if details.wildcard then
    issuer = "wildcard"
  elseif not issuer or refused.code == "unknown_issuer" then
    issuer = ""
  end
  M.count("fulcio_refusals_total", refused.reason, issuer)
end

--- Shows a value that is asked for when /metrics is: `read()` returns a
--- number, or nil for none. `...` are label values.
function M.gauge(name, read, ...)
  gauges[#gauges + 1] = { key = make_key(name, ...), read = read }
end

local function number(value)
  if value % 1 == 0 and value < 1e15 then return ("%d"):format(value) end
  return ("%.14g"):format(value)
end

local function braces(text)
  return text == "" and "" or "{" .. text .. "}"
end

local function grouped()
  local found = {}
  local function put(key, value)
    local name, text, part = key:match("^(.-)\31(.-)\31(.*)$")
    if not families[name] then return end
    found[name] = found[name] or {}
    found[name][text] = found[name][text] or {}
    found[name][text][part] = value
  end
  for key, value in pairs(store.counts()) do put(key, value) end
  for _, gauge in ipairs(gauges) do
    local value = gauge.read()
    if value then put(gauge.key, value) end
  end
  return found
end

local function put_histogram(out, name, text, values)
  local buckets = families[name][4]
  local total = 0
  for i = 1, #buckets + 1 do
    total = total + (values[tostring(i)] or 0)
    local le = label("le", buckets[i] and number(buckets[i]) or "+Inf")
    out[#out + 1] = ("%s_bucket{%s%s%s} %s"):format(
      name, text, text == "" and "" or ",", le, number(total))
  end
  out[#out + 1] = ("%s_sum%s %s"):format(name, braces(text),
                                         number(values.sum or 0))
  out[#out + 1] = ("%s_count%s %s"):format(name, braces(text),
                                           number(total))
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Everything counted so far in Prometheus' text format (0.0.4).
function M.text()
  local found, out = grouped(), {}
  found.fulcio_new_certs = found.fulcio_new_certs or { [""] = { [""] = 0 } }
  for _, name in ipairs(sorted(found)) do
    local family = families[name]
    out[#out + 1] = ("# HELP %s %s"):format(name, family[2])
    out[#out + 1] = ("# TYPE %s %s"):format(name, family[1])
    for _, text in ipairs(sorted(found[name])) do
      local values = found[name][text]
      if family[1] == "histogram" then
        put_histogram(out, name, text, values)
      else
        out[#out + 1] = ("%s%s %s"):format(name, braces(text),
                                           number(values[""]))
      end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return M
