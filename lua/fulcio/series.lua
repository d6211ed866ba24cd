--- Series of metrics: their names, and where they are counted.
---
--- A series lives in the shared counters under `name labels part`, divided
--- by one control character; `part` is empty, "sum", or a bucket's number.
--- Numbers of one bucket are its own; they are added up when printed.

local engine = require("fulcio.engine")

local unpack = table.unpack or unpack  -- luacheck: ignore 143 113

local SEPARATOR = "\31"
local MAX_SERIES = 100   -- of one name; what comes later counts as "other"
local MAX_LABEL = 80     -- bytes; a key of shared counters holds 240

local latency = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local stage = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local rpc = { "grpc_type", "grpc_service", "grpc_method" }
local rpc_code = { "grpc_type", "grpc_service", "grpc_method", "grpc_code" }

local M = {}

--- What is counted: name = { type, help, label names, bounds of buckets }.
M.families = {
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

local local_counts = {}

local local_store = {
  count = function(key, by)
    local_counts[key] = (local_counts[key] or 0) + (by or 1)
  end,
  counts = function() return local_counts end,
}

local shared = engine.server
local store = shared and shared.count and shared or local_store

-- Keys that were made for this store, by name of metric, and how many.
local made = {}

--- Counts somewhere else than in the process's shared counters: a table
--- with `count(key, by)` and `counts()`; nil: in this Lua state. What `of`
--- made before goes on counting where it did.
function M.use(other)
  store = other or local_store
  local_counts, made = {}, {}
end

--- What has been counted: numbers by key.
function M.counts()
  return store.counts()
end

--- A label as Prometheus' text format has it.
function M.label(name, value)
  value = tostring(value):sub(1, MAX_LABEL):gsub("%c", "?")
    :gsub('[\\"]', "\\%0")
  return ('%s="%s"'):format(name, value)
end

local function labels(names, values)
  local out = {}
  for i, name in ipairs(names or {}) do
    out[i] = M.label(name, values[i] == nil and "" or values[i])
  end
  return table.concat(out, ",")
end

local function join(name, text)
  return name .. SEPARATOR .. text .. SEPARATOR
end

--- The key of a series, by the values of its labels; second result: true
--- when it became "other", being one too many.
function M.key(name, values)
  local family = M.families[name]
  if not family then error(("no metric %q"):format(tostring(name)), 3) end
  local key = join(name, labels(family[3], values))
  local keys = made[name] or { count = 0 }
  made[name] = keys
  if keys[key] then return key, false end
  if keys.count == MAX_SERIES then
    local others = {}
    for i in ipairs(family[3]) do others[i] = "other" end
    return join(name, labels(family[3], others)), true
  end
  keys[key], keys.count = true, keys.count + 1
  return key, false
end

local function counters(keys)
  if store.counter then return store.counter(unpack(keys)) end
  local count = store.count
  return function(by)
    for i = 1, #keys do count(keys[i], by or 1) end
  end
end

local function histogram(key, bounds)
  local keys, last = {}, #bounds + 1
  for i = 1, last do keys[i] = key .. i end
  keys[last + 1] = key .. "sum"
  if store.histogram then return store.histogram(keys, bounds) end
  local count = store.count
  return function(value)
    local i = 1
    while bounds[i] and value > bounds[i] do i = i + 1 end
    count(keys[i], 1)
    count(keys[last + 1], value)
  end
end

--- A function that adds to some series, { name, values of labels } each: to
--- counters what it is told (default 1), to a histogram, which is alone, one
--- value. Second result: whether one became "other"; what comes from outside
--- must not fill a process, so the function is then not to be kept.
function M.of(...)
  local keys, other = {}, false
  for i, one in ipairs({ ... }) do
    local many
    keys[i], many = M.key(one[1], one[2] or {})
    other = other or many
  end
  local bounds = M.families[(...)[1]][4]
  return bounds and histogram(keys[1], bounds) or counters(keys), other
end

--- Name, labels and part of a key.
function M.parts(key)
  return key:match("^(.-)\31(.-)\31(.*)$")
end

return M
