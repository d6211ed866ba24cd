--- Issues certificates in this process, for those who count instructions.
---
--- Usage: valgrind --tool=callgrind --instr-atstart=no build/fulcio run \
---   spec/bench/issue.lua COUNT email|github "callgrind_control -i on"
--- The command is run when the first certificates have been issued.

package.path = "./?.lua;" .. package.path

local load = require("spec.bench.load")
local log = require("fulcio.log")
local server = require("fulcio.server")
local world = require("spec.world")

local policies = require("spec.bench.policies")

local WARM = 64

local count, kind = tonumber(arg[1]) or 1000, arg[2] or "email"

local scene = world.new({ log = false, policy = policies.text(kind,
                                                   "https://issuer.example") })
local requests = load.requests(kind, function(claims)
  return scene:token(claims)
end, 16)
local sink = assert(io.open("/dev/null", "w"))
log.open({ mode = "prod", write = function(line)
  sink:write(line)
  sink:flush()
end })
local function issue(i)
  local response = server.handle({
    method = "POST", path = "/api/v2/signingCert", peer = "127.0.0.1", id = i,
    headers = { ["content-type"] = "application/json", host = "localhost" },
    body = requests[i % #requests + 1].body,
  }, scene.context)
  assert(response.status == 200, response.body)
end

for i = 1, WARM do issue(i) end
if arg[3] then os.execute(arg[3]) end
for i = 1, count do issue(i) end
