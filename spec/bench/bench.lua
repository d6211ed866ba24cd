--- What a certificate costs: CPU time of all server processes over the
--- floor of the bare cryptography, least of three rounds.
---
--- In a round the floor and each way of asking the server take turns of a
--- second: a machine that is shared is fast and slow by the minute, and a
--- ratio says something only of what was measured in the same minute.
---
--- Usage: build/fulcio run spec/bench/bench.lua [SECONDS [CONFIGURATION …]]
--- Prints a table, and last a line of JSON.

package.path = "./?.lua;" .. package.path

local cjson = require("cjson")
local engine = require("fulcio.engine")
local files = require("spec.files")
local floor = require("spec.bench.floor")
local load = require("spec.bench.load")
local policies = require("spec.bench.policies")
local Process = require("spec.bench.process")
local hsm = require("spec.bench.token")

local read = files.found
local write = files.write

local ROUNDS = 3
local CONNECTIONS = 16

local turns = math.max(1, (tonumber(arg[1]) or 5) // 1)
local build = os.getenv("BUILD") or "build"

-- name, kind of token, floor, flags of its own; asked by HTTP, and by gRPC
-- where it says so, which makes a second row
local configurations = {
  { name = "file-p256", kind = "email", floor = "ct-off", grpc = true,
    flags = { "--ct-log-url", "" } },
  { name = "file-p256-github", kind = "github", floor = "ct-off",
    grpc = true, flags = { "--ct-log-url", "" } },
  { name = "file-p256-log", kind = "email", floor = "ct-on", grpc = true,
    flags = {} },
  { name = "hsm-p256", kind = "email", floor = "P-256", hsm = true,
    flags = { "--ct-log-url", "" } },
  { name = "hsm-p384", kind = "email", floor = "P-384", hsm = true,
    flags = { "--ct-log-url", "" } },
}

local function wanted()
  if not arg[2] then return configurations end
  local list = {}
  for i = 2, #arg do
    for _, one in ipairs(configurations) do
      if one.name == arg[i] then list[#list + 1] = one end
    end
  end
  return list
end

local function quoted(text)
  return "'" .. text .. "'"
end

-- A directory with a CA and policies for one configuration.
local function prepare(configuration, issuer)
  local pipe = io.popen("mktemp -d")
  local directory = pipe:read("l")
  pipe:close()
  if configuration.hsm then
    hsm.prepare(directory, configuration.floor)
  else
    assert(os.execute(("%s/fulcio run examples/authority.lua %s/ca")
      :format(build, directory)))
  end
  assert(engine.system.mkdir(directory .. "/policies"))
  write(directory .. "/policies/bench.lua",
    policies.text(configuration.kind, issuer))
  return directory
end

local function authority(configuration, directory)
  if configuration.hsm then return hsm.words(directory) end
  return {}, { "--ca", "fileca", "--fileca-cert",
               directory .. "/ca/chain.pem", "--fileca-key",
               directory .. "/ca/key.pem" }
end

local function command(configuration, directory)
  local before, flags = authority(configuration, directory)
  local words = {}
  local function add(more)
    for _, word in ipairs(more) do words[#words + 1] = quoted(word) end
  end
  add(before)
  add({
    build .. "/fulcio", "serve", "--development", "--workers", "1",
    "--log_type", "prod", "--host", "127.0.0.1", "--port", "0",
    "--grpc-host", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0",
    "--ctlog-port", "0", "--policies", directory .. "/policies",
    "--data-dir", directory .. "/data",
  })
  add(flags)
  add(configuration.flags)
  return "exec " .. table.concat(words, " ")
end

-- Starts a server and gets its first certificate: URLs by port,
-- milliseconds.
local function start(configuration, directory, first)
  os.remove(directory .. "/data/ports.json")
  local began = engine.system.monotonic()
  local server = Process.start(command(configuration, directory),
                               directory .. "/log")
  local urls
  while engine.system.monotonic() - began < 20 do
    local ports = read(directory .. "/data/ports.json")
    if ports and ports:find("}") then
      urls = cjson.decode(ports)
      for name, port in pairs(urls) do
        urls[name] = ("http://127.0.0.1:%d"):format(port)
      end
      local answer = engine.http.request({
        url = urls.http .. "/api/v2/signingCert", method = "POST",
        body = first.body, timeout = 5,
      })
      if answer and answer.status == 200 then
        return server, urls, (engine.system.monotonic() - began) * 1000
      end
    end
    engine.server.sleep(0.001)
  end
  server:stop()
  server:stop()
  error("the server does not start:\n" .. server:output())
end

local function least(a, b)
  return (not a or b < a) and b or a
end

-- The ways in which a configuration is asked, each a row.
local function ways(configuration, urls)
  local list = { { name = configuration.name, run = load.post,
                   url = urls.http } }
  if configuration.grpc then
    list[2] = { name = configuration.name .. "-grpc", run = load.call,
                url = urls.grpc }
  end
  for _, way in ipairs(list) do
    way.results, way.cpu, way.took = {}, 0, 0
  end
  return list
end

local function take_turn(way, server, requests)
  local before = server:cpu()
  local results, took = way.run(way.url, requests, CONNECTIONS, 1)
  way.cpu = way.cpu + server:cpu() - before
  way.took = way.took + took
  table.move(results, 1, #results, #way.results + 1, way.results)
  way.pss = server:pss()
end

-- With an HSM: one raw signature of its module, and the rest.
local function floor_now(configuration, directory)
  local bare = floor.measure(configuration.floor)
  if not configuration.hsm then return bare end
  return bare + hsm.signature(directory, configuration.floor, 1)
end

-- The time of the round whose ratio is the least; of the rest the best.
local function keep(way, world, found)
  local results, best = way.results, world.best[way.name] or { rounds = {} }
  local cost = way.cpu / #results
  local ratio = cost / found.floor
  if not best.ratio or ratio < best.ratio then
    best.cpu_ms_per_cert, best.floor_ms = cost * 1000, found.floor * 1000
    best.ratio, best.certs_per_s = ratio, 1 / cost
  end
  best.rounds[#best.rounds + 1] = ratio
  best.per_s = math.max(best.per_s or 0, #results / way.took)
  best.p50_ms = least(best.p50_ms, load.percentile(results, 0.5) * 1000)
  best.p99_ms = least(best.p99_ms, load.percentile(results, 0.99) * 1000)
  best.rss_mib = least(best.rss_mib, way.pss)
  best.idle_mib = least(best.idle_mib, found.idle)
  best.start_ms = least(best.start_ms, found.start_ms)
  world.best[way.name] = best
end

local function round(configuration, world)
  local directory = world.directories[configuration.name]
  local requests = world.requests[configuration.kind]
  local server, urls, start_ms = start(configuration, directory, requests[1])
  local asked = ways(configuration, urls)
  local found = { floor = 0, idle = server:pss(), start_ms = start_ms }
  for _, way in ipairs(asked) do
    way.run(way.url, requests, CONNECTIONS, 1) -- warm
  end
  for _ = 1, turns do
    found.floor = found.floor + floor_now(configuration, directory) / turns
    for _, way in ipairs(asked) do take_turn(way, server, requests) end
  end
  server:stop()
  local chain = engine.x509.parse(read(directory .. "/ca/chain.pem"))
  for _, way in ipairs(asked) do
    load.verify(way.results, chain[1])
    keep(way, world, found)
  end
end

local function report(world)
  print(("%-22s %8s %8s %6s %8s %7s %7s %7s %8s  %s"):format("configuration",
    "cpu ms", "floor", "ratio", "certs/s", "p50 ms", "p99 ms", "MiB",
    "start ms", "each round"))
  for _, configuration in ipairs(wanted()) do
    for _, way in ipairs(ways(configuration, {})) do
      local best, each = world.best[way.name], {}
      for i, ratio in ipairs(best.rounds) do
        each[i] = ("%.2f"):format(ratio)
      end
      print(("%-22s %8.4f %8.4f %6.2f %8.0f %7.2f %7.2f %7.1f %8.1f  %s")
        :format(way.name, best.cpu_ms_per_cert, best.floor_ms, best.ratio,
                best.certs_per_s, best.p50_ms, best.p99_ms, best.rss_mib,
                best.start_ms, table.concat(each, " ")))
    end
  end
  print(cjson.encode(world.best))
end

local function main()
  local issuer, token = load.issuer()
  local world = { best = {}, directories = {}, requests = {} }
  for kind in pairs(load.kinds) do
    world.requests[kind] = load.requests(kind, token, 64)
  end
  for _, configuration in ipairs(wanted()) do
    world.directories[configuration.name] = prepare(configuration, issuer)
  end
  for _ = 1, ROUNDS do
    for _, configuration in ipairs(wanted()) do
      round(configuration, world)
    end
  end
  report(world)
  for _, directory in pairs(world.directories) do
    os.execute("rm -rf " .. quoted(directory))
  end
end

local status = 0
engine.server.spawn(function()
  local ok, message = xpcall(main, debug.traceback)
  if not ok then
    io.stderr:write(message, "\n")
    status = 1
  end
  engine.server.stop()
end)
engine.server.run()
return status
