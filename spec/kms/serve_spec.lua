local bao_server = require("spec.kms.bao")
local process = require("spec.process")
local runtimes = require("spec.clients.runtimes")
local scenes = require("spec.clients.scene")

-- The whole program with a key in a real OpenBao, and sigstore's own client.
describe("serve --ca kmsca", function()
  local bao, missing

  setup(function()
    for _, name in ipairs({ "python", "go" }) do
      local done, why = runtimes.install(name)
      if not done then missing = missing or why end
    end
    if not missing then bao, missing = bao_server.start() end
  end)

  teardown(function()
    if bao then bao:stop() end
    process.stop_all()
  end)

  local function start(kind)
    local token = bao:token()
    return token, scenes.start(runtimes.built .. "/standin", {
      backend = function(directory)
        local chain = directory .. "/ca/chain.pem"
        os.execute(("cp %s %s"):format(
          bao:chain(bao:key(kind, kind), kind), chain))
        -- What verifiers trust is the root of this chain.
        os.execute(("awk '/BEGIN/ { n++ } n == 2' %s >%s/ca/root.pem")
          :format(chain, directory))
        return { "--ca", "kmsca", "--kms-resource", "openbao://" .. kind,
                 "--kms-cert-chain-path", chain }
      end,
      environment = { BAO_ADDR = bao.url, BAO_TOKEN = token },
    })
  end

  for _, kind in ipairs({ "ecdsa-p256", "ecdsa-p384" }) do
    it("issues what sigstore-python takes, with " .. kind, function()
      if not bao then return pending(missing) end
      local token, scene = start(kind)
      local pipe = io.popen(runtimes.built .. "/python/bin/python"
        .. " spec/clients/python/client.py " .. scene.file .. " 2>&1")
      local text = pipe:read("a")
      pipe:close()
      local said = scene.ca:output()
      assert.is_true(scenes.stop(scene))
      assert.is_nil(text:find("not ok", 1, true), text)
      assert.is_true(select(2, text:gsub("ok ", "")) > 5, text)
      assert.is_nil(said:find(token, 1, true))
    end)
  end
end)
