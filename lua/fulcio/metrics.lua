--- Counts what happens and prints it for Prometheus.

local series = require("fulcio.series")

local families = series.families

-- Names of gRPC's statuses, as grpc_server_handled_total has them.
local code_names = {
  [0] = "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded",
  "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
  "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal",
  "Unavailable", "DataLoss", "Unauthenticated",
}

local methods = { GET = "get", POST = "post", HEAD = "head",
                  OPTIONS = "options", PUT = "put", DELETE = "delete" }

local gauges = {}

-- What adds to series, made once for each: one by its name and labels, a
-- certificate by its issuer, an answer by status and method, a call
-- by its path and code.
local known, issued, answered, calls = {}, {}, {}, {}

local function named(name, ...)
  local values, id = { ... }, name
  for i in ipairs(families[name] and families[name][3] or {}) do
    id = id .. " " .. tostring(values[i])
  end
  if known[id] then return known[id] end
  local add, other = series.of({ name, values })
  if not other then known[id] = add end
  return add
end

local M = {}

--- What /metrics is, for its content-type header.
M.content_type = "text/plain; version=0.0.4; charset=utf-8"

--- Counts somewhere else than in the process's shared counters: a table
--- with `count(key, by)` and `counts()`; nil: in this Lua state.
function M.use(other)
  series.use(other)
  known, issued, answered, calls = {}, {}, {}, {}
end

--- Adds one to a counter; its label values follow in the family's order.
function M.count(name, ...)
  named(name, ...)()
end

--- A function that adds to one series of a counter (how much, default 1), or
--- puts a value into one of a histogram.
function M.series(name, a, b)
  local add, of
  return function(value)
    if of ~= known then add, of = named(name, a, b), known end
    add(value)
  end
end

local function learn_answer(status, method)
  local labels = { status, method }
  local answer = { count = series.of({ "http_requests_total", labels }),
                   observe = series.of({ "fulcio_api_latency", labels }) }
  answered[status] = answered[status] or {}
  answered[status][method] = answer
  return answer
end

--- Counts one answered HTTP request: method, status, seconds.
function M.served(method, status, seconds)
  method = methods[method] or "other"
  local answer = answered[status]
  answer = answer and answer[method] or learn_answer(status, method)
  answer.count()
  answer.observe(seconds)
end

-- What a call adds to.
local function learn_call(path, kind, code)
  local service, name = path:match("^/(.-)/(.*)$")
  local labels = { kind, service, name }
  local add = series.of({ "grpc_server_started_total", labels },
    { "grpc_server_msg_received_total", labels },
    { "grpc_server_handled_total",
      { kind, service, name, code_names[code] or "Unknown" } },
    code == 0 and { "grpc_server_msg_sent_total", labels } or nil)
  calls[path] = calls[path] or {}
  calls[path][code] = add
  return add
end

--- Counts one answered call by its gRPC path, which must be one that
--- exists, gRPC status, and kind ("unary" when nil).
function M.called(path, code, kind)
  local add = calls[path]
  add = add and add[code] or learn_call(path, kind or "unary", code)
  add()
end

--- Counts one certificate, and its issuer.
function M.issued(issuer)
  local add = issued[issuer]
  if not add then
    local other
    add, other = series.of({ "fulcio_new_certs" },
                           { "fulcio_certificates_total", { issuer } })
    if not other then issued[issuer] = add end
  end
  add()
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
  gauges[#gauges + 1] = { key = series.key(name, { ... }), read = read }
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
    local name, text, part = series.parts(key)
    if not families[name] then return end
    found[name] = found[name] or {}
    found[name][text] = found[name][text] or {}
    found[name][text][part] = value
  end
  for key, value in pairs(series.counts()) do put(key, value) end
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
    local le = series.label("le", buckets[i] and number(buckets[i]) or "+Inf")
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
