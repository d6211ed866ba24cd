local engine = require("fulcio.engine")
local hsm = require("spec.hsm.token")

-- Coroutines that sign until they are told that the trouble is over, and
-- have then signed on, or been refused, for good. Prints "N good N bad
-- CODES", and whether the last signatures were good again.
local LOAD = [[
local token = assert(open({ sessions = 4 }))
local key = assert(token:key({ label = "k" }))
local monotonic = engine.system.monotonic
local good, bad, codes, last = 0, 0, {}, 0
local longest, stopping = 0, false
local function sign(i)
  local started = monotonic()
  local text = "text " .. i
  local signature, message, code = key:sign(text)
  longest = math.max(longest, monotonic() - started)
  if not signature then
    bad, codes[code], last = bad + 1, true, 0
    if bad < 4 then print(message) end
    engine.server.sleep(0.02)
  elseif key:verify(text, signature) then
    good, last = good + 1, last + 1
  else
    error("a wrong signature left the token")
  end
end
for i = 1, 32 do
  engine.server.spawn(function()
    while not stopping do sign(i) end
  end)
end
local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end
local function wait_for(what, seconds)
  local until_then = monotonic() + seconds
  while not what() and monotonic() < until_then do
    engine.server.sleep(0.02)
  end
end
local function settled()
  local _, _, code = token:ready()
  return last > 32 or code == "bad_pin" or code == "wrong_signature"
end
engine.server.spawn(function()
  wait_for(function() return good > 32 end, 20)
  print("ready")
  io.stdout:flush()
  wait_for(function() return exists(OVER) end, 60)
  local over = monotonic()
  last = 0
  wait_for(settled, 20)
  local took = monotonic() - over
  if not token:ready() then engine.server.sleep(0.5) end
  stopping = true
  engine.server.sleep(0.1)
  local names = {}
  for code in pairs(codes) do names[#names + 1] = code end
  print(("%d good %d bad %s last %d after %.3f s"):format(good, bad,
    table.concat(names, ","), last, took))
  print(longest < 5.5 and "nothing hung" or "hung " .. longest)
  print(token:ready() and "up" or "down")
  token:close()
  engine.server.stop()
end)
engine.server.run()
]]

describe("signer", function()
  local token

  before_each(function()
    token = hsm.new()
    token:lua([[
      local token = assert(open({}))
      assert(token:generate({ algorithm = "P-256", label = "k", id = "1" }))
    ]])
  end)
  after_each(function() token:remove() end)

  -- Runs the load while `trouble` happens; its summary.
  local function under_load(trouble, environment)
    local over = token.directory .. "/over"
    local load = token:start(("local OVER = %q\n"):format(over) .. LOAD,
                             environment)
    load:wait_for("ready")
    trouble(load)
    assert(io.open(over, "w")):close()
    local good, bad, codes, last =
      load:wait_for("(%d+) good (%d+) bad (%S*) last (%d+)")
    load:wait_for("nothing hung")
    local state = load:wait_for("\n(%a+)\n$")
    return { good = tonumber(good), bad = tonumber(bad), codes = codes,
             last = tonumber(last), state = state, note = load:output() }
  end

  local function read(path)
    local file = io.open(path, "rb")
    local text = file and file:read("a") or ""
    if file then file:close() end
    return text
  end

  -- How often the shim was asked for something, or failed on request.
  local function counted(path, what)
    return select(2, read(path):gsub(what, ""))
  end

  -- Makes the shim fail as `lines` say, until it has failed `times`; what
  -- the load then tells.
  local function under_faults(lines, times)
    local fault, count = token.directory .. "/fault", token.directory .. "/n"
    token.module = hsm.shim
    local result = under_load(function()
      local file = assert(io.open(fault .. ".new", "w"))
      file:write(lines)
      file:close()
      local before = counted(count, "fault")
      assert(os.rename(fault .. ".new", fault))
      for _ = 1, 400 do
        if counted(count, "fault") >= before + times then break end
        os.execute("sleep 0.02")
      end
      assert.is_true(counted(count, "fault") >= before + times)
      os.remove(fault)
    end, { SHIM_FAULT = fault, SHIM_COUNT = count })
    result.logins = counted(count, "C_Login")
    return result
  end

  it("signs on while nothing happens", function()
    local result = under_load(function() end)
    assert.equal(0, result.bad)
    assert.is_true(result.good > 32)
    assert.equal("up", result.state)
  end)

  -- Ends the connections alone, or the server with them.
  local function kill(server, whole)
    if whole then return token.lose(server) end
    for _, child in ipairs(server:children()) do
      os.execute("kill -9 " .. child)
    end
  end

  it("refuses while a remote HSM is gone, then goes on by itself", function()
    local server = token:serve()
    local result = under_load(function()
      kill(server, true)
      os.execute("sleep 1")
      token:serve()
    end)
    assert.is_true(result.bad > 0)
    assert.equal("hsm_gone", result.codes)
    assert.is_true(result.last > 32)
    assert.equal("up", result.state)
  end)

  it("outlives the connection alone being lost", function()
    local server = token:serve()
    local result = under_load(function() kill(server) end)
    assert.is_true(result.last > 32)
    assert.equal("up", result.state)
  end)

  it("waits for a token whose files went away", function()
    local tokens = token.directory .. "/tokens"
    local result = under_load(function()
      os.execute(("mv %s %s.away; sleep 1; mv %s.away %s")
        :format(tokens, tokens, tokens, tokens))
    end)
    assert.is_true(result.last > 32)
    assert.equal("up", result.state)
  end)

  it("hands out nothing of another key that took the key's name", function()
    local tool = ("pkcs11-tool --module %s --login --pin %s"):format(
      hsm.softhsm, hsm.pin)
    local result = under_load(function(load)
      token:shell(tool .. " --keypairgen --key-type EC:prime256v1 --label k"
                  .. " --id 32")
      token:shell(tool .. " --delete-object --type privkey --id 31")
      load:wait_for("does not verify")
    end)
    assert.equal(0, result.last)
    assert.truthy(result.codes:find("wrong_signature", 1, true))
    assert.equal("down", result.state)
  end)

  -- What a module may answer (PKCS#11 2.40 section 5.1), the call that
  -- answers it, how often, and whether a client may notice.
  local cases = {
    { "C_Sign", "0xb3 1", "CKR_SESSION_HANDLE_INVALID" },
    { "C_Sign", "0xb0 1", "CKR_SESSION_CLOSED" },
    { "C_Sign", "0x91 1", "CKR_OPERATION_NOT_INITIALIZED" },
    { "C_SignInit", "0x101 1", "CKR_USER_NOT_LOGGED_IN" },
    { "C_SignInit", "0x60 1", "CKR_KEY_HANDLE_INVALID" },
    { "C_SignInit", "0x82 1", "CKR_OBJECT_HANDLE_INVALID" },
    { "C_SignInit", "0x67 1", "CKR_KEY_INDIGESTIBLE" },
    { "C_SignInit", "0x90 1", "CKR_OPERATION_ACTIVE" },
    { "C_Sign", "0x6 2", "CKR_FUNCTION_FAILED" },
    { "C_Sign", "0x32 1", "CKR_DEVICE_REMOVED", true },
    { "C_Sign", "0x30 1", "CKR_DEVICE_ERROR", true },
    { "C_Sign", "0xe0 1", "CKR_TOKEN_NOT_PRESENT", true },
    { "C_Sign", "0x5 1", "CKR_GENERAL_ERROR", true },
    { "C_Sign", "0x190 1", "CKR_CRYPTOKI_NOT_INITIALIZED", true },
    { "C_Sign", "0x31 1", "CKR_DEVICE_MEMORY", true },
  }
  for _, case in ipairs(cases) do
    it("recovers from " .. case[3] .. " of " .. case[1], function()
      local result = under_faults(case[1] .. " " .. case[2] .. "\n", 1)
      local said = result.codes .. " " .. result.note
      if not case[4] then assert.equal(0, result.bad, said) end
      assert.is_true(result.last > 32)
      assert.equal("up", result.state)
    end)
  end

  it("restarts the module when nothing else helps", function()
    local result = under_faults("C_Sign 0x30\nC_OpenSession 0x30\n", 16)
    assert.is_true(result.bad > 0)
    assert.is_true(result.last > 32)
    assert.equal("up", result.state)
  end)

  for what, lines in pairs({
    ["after a reconnection"] = "C_Sign 0x32\nC_Login 0xa0\n",
    ["when it was logged out"] = "C_SignInit 0x101\nC_Login 0xa0\n",
  }) do
    it("asks for a PIN that was refused never again " .. what, function()
      local result = under_faults(lines, 2)
      assert.equal("down", result.state)
      assert.equal(0, result.last)
      assert.equal(2, result.logins) -- the first, and the one refused
    end)
  end

  -- Opens as a worker does, and says what came of it.
  local LAZY = [[
    local token = assert(open({ lazy = true, lock = %q }))
    local key = assert(token:key({ label = "k",
      public = engine.pkey.generate("P-256") }))
    for i = 1, 400 do
      local ok, _, code = token:ready()
      if ok or code == "bad_pin" then
        print(ok and "up" or code)
        break
      end
      if i == 5 then print("waits") io.stdout:flush() end
      engine.server.sleep(0.05)
    end
    print((select(3, key:sign("x"))))
    token:close()
  ]]

  it("tries a wrong PIN once, however many processes there are", function()
    local count = token.directory .. "/n"
    token.module = hsm.shim
    token:shell(("pkcs11-tool --module %s --login --pin %s --change-pin"
      .. " --new-pin 9999999"):format(hsm.softhsm, hsm.pin))
    for _ = 1, 3 do
      assert.equal("bad_pin\nbad_pin", token:lua(
        LAZY:format(token.directory .. "/lock"), { SHIM_COUNT = count }))
    end
    assert.equal(1, counted(count, "C_Login"))
  end)

  it("connects beside the loop to an HSM that comes later", function()
    local server = token:serve()
    kill(server, true)
    local worker = token:start(LAZY:format(token.directory .. "/lock"))
    worker:wait_for("waits")
    token:serve()
    worker:wait_for("up")
    -- Not the key that the token has: every first signature is verified.
    worker:wait_for("wrong_signature")
  end)

  it("refuses at once when too many signatures wait", function()
    token.module = hsm.shim
    assert.equal("some good, refused: hsm_busy", token:lua([[
      local token = assert(open({ sessions = 1, wait = 0.3 }))
      local key = assert(token:key({ label = "k" }))
      local good, refused, left = 0, {}, 12
      assert(key:sign("x"))
      for i = 1, 12 do
        engine.server.spawn(function()
          for _ = 1, 3 do
            local signature, _, code = key:sign("x")
            if signature then good = good + 1 else refused[code] = true end
          end
          left = left - 1
          if left == 0 then engine.server.stop() end
        end)
      end
      engine.server.run()
      io.write(good > 0 and "some good" or "none", ", refused: ",
               (next(refused)))
      token:close()
    ]], { SHIM_SIGN_MS = "50" }))
  end)

  it("says that an HSM hangs, and goes on meanwhile", function()
    token.module = hsm.shim
    assert.equal("up, hsm_busy hsm_busy", token:lua([[
      local token = assert(open({ sessions = 1, wait = 0.1 }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function() key:sign("x") end)
      engine.server.spawn(function()
        io.write(token:ready() and "up, " or "down, ")
        engine.server.sleep(0.3)
        io.write((select(3, token:ready())), " ",
                 (select(3, key:sign("x"))))
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.run()
    ]], { SHIM_SIGN_MS = "3000" }))
  end)

  it("asks nothing of an HSM that has not answered, until it does", function()
    token.module = hsm.shim
    local hold, count = token.directory .. "/hold", token.directory .. "/n"
    assert(engine.system.write(hold, ""))
    assert.equal("hsm_busy 1, hsm_busy true 1 hsm_busy, hsm_busy 2, true",
      token:lua(([[
      local token = assert(open({ sessions = 4 }))
      local key = assert(token:key({ label = "k" }))
      local function asked()
        local file = io.open(%q)
        local text = file and file:read("a") or ""
        if file then file:close() end
        return select(2, text:gsub("at once", ""))
      end
      engine.server.spawn(function()
        io.write((select(3, key:sign("x"))), " ", asked(), ", ")
        local began = engine.system.monotonic()
        io.write((select(3, key:sign("x"))), " ",
                 tostring(engine.system.monotonic() - began < 1), " ",
                 asked(), " ", (select(3, token:ready())), ", ")
        io.write((select(3, token:probe(key))), " ", asked(), ", ")
        os.remove(%q)
        while not token:ready() do engine.server.sleep(0.01) end
        io.write(tostring(key:sign("x") ~= nil))
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.run()
    ]]):format(count, hold), { SHIM_HOLD = hold, SHIM_COUNT = count }))
  end)

  it("asks nothing of an HSM that has to prove itself, until it has", function()
    assert.equal("hsm_busy hsm_busy 0.0, true true true", token:lua([[
      local token = assert(open({ prove = true }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function()
        io.write((select(3, key:sign("x"))), " ",
                 (select(3, token:ready())),
                 (" %.1f, "):format((token:still())))
        io.write(tostring(token:probe(key) ~= nil), " ",
                 tostring(token:ready()), " ",
                 tostring(key:sign("x") ~= nil))
        token:close()
        engine.server.stop()
      end)
      engine.server.run()
    ]]))
  end)

  it("refuses others while it waits for an HSM that does not answer",
     function()
    token.module = hsm.shim
    local hold = token.directory .. "/hold"
    assert(engine.system.write(hold, ""))
    assert.equal("hsm_busy true, good", token:lua(([[
      local token = assert(open({ sessions = 4, wait = 0.1 }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function()
        io.write(key:sign("x") and "good" or "bad")
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.spawn(function()
        engine.server.sleep(0.3)
        local _, _, code = key:sign("x")
        io.write(code, " ", tostring(not token:ready()), ", ")
        os.remove(%q)
      end)
      engine.server.run()
    ]]):format(hold), { SHIM_HOLD = hold }))
  end)

  it("says for how long a module has not come back", function()
    token.module = hsm.shim
    local fault = token.directory .. "/fault"
    assert.equal("0.0 0.0, true 0.0", token:lua(([[
      local token = assert(open({ sessions = 1 }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function()
        assert(key:sign("x"))
        io.write(("%%.1f %%.1f, "):format(token:still()))
        local file = assert(io.open(%q, "w"))
        file:write("C_Sign hang\n")
        file:close()
        engine.server.spawn(function() key:sign("x") end)
        engine.server.sleep(0.3)
        local signing, connecting = token:still()
        io.write(tostring(signing > 0.2), (" %%.1f"):format(connecting))
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.run()
    ]]):format(fault), { SHIM_FAULT = fault }))
    assert(engine.system.write(fault, "C_OpenSession hang\n"))
    assert.equal("0.0 true", token:lua([[
      local token = assert(open({ sessions = 1, lazy = true }))
      engine.server.spawn(function()
        engine.server.sleep(0.3)
        local signing, connecting = token:still()
        io.write(("%.1f "):format(signing), tostring(connecting > 0.2))
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.run()
    ]], { SHIM_FAULT = fault }))
  end)

  it("never hands out a signature that does not verify", function()
    token.module = hsm.shim
    assert.equal("wrong_signature", token:lua([[
      local token = assert(open({ verify = "all" }))
      local key = assert(token:key({ label = "k" }))
      assert(key:sign("x"))
      io.write((select(3, key:sign("x"))))
    ]], { SHIM_LIE = "2" }))
  end)

  it("answers after five seconds when the HSM does not", function()
    token.module = hsm.shim
    assert.equal("hsm_busy", token:lua([[
      local token = assert(open({ sessions = 1 }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function()
        io.write((select(3, key:sign("x"))))
        os.exit(0)
      end)
      engine.server.run()
    ]], { SHIM_SIGN_MS = "8000" }))
  end)

  it("uses as many sessions as it has, at once", function()
    token.module = hsm.shim
    local output = token:lua([[
      local token = assert(open({ sessions = 8 }))
      local key = assert(token:key({ label = "k" }))
      local left, started = 16, engine.system.monotonic()
      for _ = 1, 16 do
        engine.server.spawn(function()
          assert(key:sign("x"))
          left = left - 1
          if left == 0 then
            -- One after the other they would take 1.6 seconds.
            io.write(engine.system.monotonic() - started < 1 and "at once"
                     or "in turn")
            engine.server.stop()
          end
        end)
      end
      engine.server.run()
      token:close()
    ]], { SHIM_SIGN_MS = "100" })
    assert.equal("at once", output)
  end)

  -- Most signatures that the shim was at, at once, after some in turn.
  local function most_at_once(more)
    local count = token.directory .. "/n"
    more.SHIM_COUNT = count
    token.module = hsm.shim
    token:lua([[
      local token = assert(open({ sessions = 8 }))
      local key = assert(token:key({ label = "k" }))
      local left = 4
      engine.server.spawn(function()
        for _ = 1, 16 do assert(key:sign("x")) end
        for _ = 1, 4 do
          engine.server.spawn(function()
            assert(key:sign("x"))
            left = left - 1
            if left == 0 then engine.server.stop() end
          end)
        end
      end)
      engine.server.run()
      token:close()
    ]], more)
    local most
    for n in read(count):gmatch("(%d+) at once") do most = tonumber(n) end
    return most
  end

  it("signs in turn where it is this machine's processor that does", function()
    assert.equal(1, most_at_once({ SHIM_WORK_MS = "1" }))
    os.remove(token.directory .. "/n")
    assert.equal(4, most_at_once({ SHIM_SIGN_MS = "100" }))
  end)

  -- Runs text with a token of the shim, and FAULT, the file of its faults.
  local function faulty(sessions, text, more)
    local fault = token.directory .. "/fault"
    more.SHIM_FAULT = fault
    token.module = hsm.shim
    return token:lua(([[
      local FAULT = %q
      local function faults(text)
        local file = assert(io.open(FAULT, "w"))
        file:write(text, "\n")
        file:close()
      end
      local token = assert(open({ sessions = %d }))
      local key = assert(token:key({ label = "k" }))
      engine.server.spawn(function()
        %s
        io.stdout:flush()
        os.exit(0)
      end)
      engine.server.run()
    ]]):format(fault, sessions, text), more)
  end

  it("has all its threads after signatures that failed", function()
    local count = token.directory .. "/n"
    faulty(8, ([[
      local stopping, left = false, 0
      local function many(rounds)
        for _ = 1, 32 do
          left = left + 1
          engine.server.spawn(function()
            for _ = 1, rounds do
              if stopping then break end
              if not key:sign("x") then engine.server.sleep(0.02) end
            end
            left = left - 1
          end)
        end
      end
      local function finish()
        while left > 0 do engine.server.sleep(0.02) end
      end
      assert(key:sign("x"))
      many(20)
      finish()
      faults("C_Sign 0x30")
      many(1e9)
      engine.server.sleep(2)
      os.remove(FAULT)
      stopping = true
      finish()
      while not key:sign("x") do engine.server.sleep(0.1) end
      os.remove(%q)
      stopping = false
      many(4)
      finish()
    ]]):format(count), { SHIM_SIGN_MS = "20", SHIM_COUNT = count })
    local most = 0
    for n in read(count):gmatch("(%d+) at once") do
      most = math.max(most, tonumber(n))
    end
    assert.equal(8, most)
  end)

  it("goes on after a signature that came as it was given up", function()
    assert.equal("good", faulty(1, [[
      local monotonic = engine.system.monotonic
      local function block(seconds)
        local last = monotonic() + seconds
        repeat until monotonic() > last
      end
      assert(key:sign("x"))
      -- From shortly before its end on, timers keep the loop from hearing.
      local started = monotonic()
      for i = 0, 90 do
        engine.server.spawn(function()
          local due = started + 4.9 + (i == 0 and 0 or 0.0001 + i / 1e5)
          engine.server.sleep(due - monotonic())
          block(i == 0 and 0.012 or 0.003)
        end)
      end
      key:sign("x")
      engine.server.sleep(0.2)
      io.write(select(3, key:sign("x")) or "good")
    ]], { SHIM_SIGN_MS = "4995" }))
  end)

  it("is not ready while it signs nothing, however it connects", function()
    for _, code in ipairs({ "0x30", "0x31", "0x6", "0xa0", "0xb1" }) do
      assert.equal("no, no, yes", faulty(2, ([[
        local function says() return token:ready() and "yes" or "no" end
        assert(key:sign("x"))
        faults("C_Sign %s")
        assert(not key:sign("x"))
        io.write(says(), ", ")
        engine.server.sleep(1.5)
        io.write(says(), ", ")
        os.remove(FAULT)
        local last = engine.system.monotonic() + 10
        while not token:probe(key) and engine.system.monotonic() < last do
          engine.server.sleep(0.1)
        end
        io.write(says())
      ]]):format(code), {}))
    end
  end)

  it("knows of a call that hangs where it cannot connect anew", function()
    assert.equal("0, blocked", faulty(2, [[
      assert(key:sign("x"))
      faults("C_Sign hang 1")
      assert(not key:sign("x"))
      while not token:probe(key) do engine.server.sleep(0.1) end
      io.write(("%.0f, "):format(token:still()))
      faults("C_Sign 0x30")
      local last = engine.system.monotonic() + 15
      repeat
        assert(not key:sign("x"))
        engine.server.sleep(0.1)
      until token:still() > 4 or engine.system.monotonic() > last
      io.write(token:still() > 4 and "blocked" or "not blocked")
    ]], {}))
  end)

  it("makes do with fewer sessions than it wanted", function()
    token.module = hsm.shim
    assert.equal("40", token:lua([[
      local token = assert(open({ sessions = 8 }))
      local key = assert(token:key({ label = "k" }))
      local good, left = 0, 40
      for _ = 1, 40 do
        engine.server.spawn(function()
          if key:sign("x") then good = good + 1 end
          left = left - 1
          if left == 0 then engine.server.stop() end
        end)
      end
      engine.server.run()
      io.write(good)
      token:close()
    ]], { SHIM_SESSIONS = "2", SHIM_SIGN_MS = "5" }))
  end)

  it("loses no memory in 1,000 signatures and 40 reconnections", function()
    if os.getenv("BUILD") or not io.open("/usr/bin/valgrind") then
      pending("it needs valgrind, and a build without sanitizers")
    end
    token.module = hsm.shim
    local fault = token.directory .. "/fault"
    local path = token.directory .. "/valgrind.lua"
    local file = assert(io.open(path, "w"))
    local prelude = token:prelude():gsub("package%.c?path[^\n]*\n", "")
    file:write(prelude, ([[
      local token = assert(open({ sessions = 2 }))
      local key = assert(token:key({ label = "k" }))
      local signed, lost = 0, 0
      local function break_it(how)
        local file = assert(io.open(%q, "w"))
        file:write(how)
        file:close()
      end
      engine.server.spawn(function()
        while signed < 1000 do
          if lost * 25 <= signed and lost < 40 then
            lost = lost + 1
            break_it(lost %% 2 == 0 and "C_Sign 0x30 1"
                     or "C_Sign 0x30 1\nC_OpenSession 0x30 1")
            key:sign("x")
            os.remove(%q)
            while not token:ready() do engine.server.sleep(0.01) end
          end
          if key:sign("x") then signed = signed + 1 end
        end
        token:close()
        engine.server.stop()
      end)
      engine.server.run()
      print(signed, lost)
    ]]):format(fault, fault))
    file:close()
    local output = token:shell("valgrind -q --keep-debuginfo=yes"
      .. " --leak-check=full --show-leak-kinds=definite"
      .. " --errors-for-leak-kinds=definite"
      .. " --error-exitcode=9 build/fulcio run " .. path
        .. " && echo clean",
      { SHIM_FAULT = fault })
    assert.truthy(output:find("1000\t40\nclean", 1, true), output)
  end)
end)
