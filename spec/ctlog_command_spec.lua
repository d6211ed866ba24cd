local authority = require("spec.ca.authority")
local engine = require("fulcio.engine")
local program = require("spec.program")

describe("ctlog_command", function()
  local directory, remove = authority.directory()
  local intermediate, root = authority.pair()

  setup(function()
    assert(engine.system.write(directory .. "/roots.pem",
                               root.certificate.pem))
  end)
  teardown(remove)

  local function refuses(message, ...)
    local status, printed = program.run({ "ctlog", "--data-dir",
      directory .. "/data", "--ctlog-port", "0", ... })
    assert.equal(1, status)
    assert.matches(message, printed, 1, true)
  end

  it("runs the log alone until it is told to stop", function()
    local process = program.start({ "ctlog", "--data-dir",
      directory .. "/data", "--ctlog-port", "0", "--roots",
      directory .. "/roots.pem" })
    finally(function() process:stop() end)
    local url = process:wait_for('url="(http://[%d.:]+)"')
    local roots = program.parsed(assert(program.wait(function()
      return program.get(url .. "/ct/v1/get-roots")
    end)))
    assert.same({ engine.bytes.base64(root.certificate.der) },
                roots.certificates)
    local answer = program.post(url .. "/ct/v1/add-chain", { chain = {
      engine.bytes.base64(intermediate.certificate.der),
      engine.bytes.base64(root.certificate.der) } })
    assert.equal(200, answer.status, answer.body)
    assert.equal(1, program.parsed(program.get(url .. "/ct/v1/get-sth"))
                 .tree_size)
    assert.is_true(process:stop())
  end)

  it("does not start with what it cannot use", function()
    refuses("unknown flag --prot", "--prot", "1")
    refuses("--roots: ", "--roots", "/nowhere.pem")
    refuses("--roots: ", "--roots", "spec/world.lua")
  end)

  it("does not start beside another on the same data", function()
    local process = program.start({ "ctlog", "--data-dir",
      directory .. "/data", "--ctlog-port", "0" })
    finally(function() process:stop() end)
    process:wait_for('(log is open)')
    refuses("", "--roots", directory .. "/roots.pem")
  end)
end)
