--- What workers and the log of the same deployment say to each other in a
--- dialog: submissions without JSON, and the chain only once.
---
--- A question is kind, chain, leaf; an answer is a status, as HTTP has it,
--- and what that brings.

local engine = require("fulcio.engine")

local pack, unpack = string.pack, string.unpack

local NAME_SIZE = 32   -- SHA-256: shorter than any certificate

local kinds = { "x509", "precert", x509 = 1, precert = 2 }

local M = {}

--- Certificates, DER, as a question has them: issuer first.
function M.chain(ders)
  local parts = {}
  for i, der in ipairs(ders) do parts[i] = pack(">s4", der) end
  return table.concat(parts)
end

--- What a log knows a chain by that it was sent before.
function M.name(chain)
  return engine.bytes.sha256(chain)
end

--- A submission. `chain`: of `M.chain`, or its name.
function M.question(kind, chain, der)
  return pack(">Bs4s4", kinds[kind], chain, der)
end

--- Reads a submission: kind, chain, whether that is a name only, leaf; nil
--- when it is malformed.
function M.read_question(bytes)
  local ok, kind, chain, der, stop = pcall(unpack, ">Bs4s4", bytes)
  if not ok or not kinds[kind] or stop ~= #bytes + 1 then return nil end
  return kinds[kind], chain, #chain == NAME_SIZE, der
end

--- The certificates of a chain, DER; nil when it is malformed.
function M.read_chain(chain)
  local ders, at = {}, 1
  while at <= #chain do
    local ok, der, stop = pcall(unpack, ">s4", chain, at)
    if not ok then return nil end
    ders[#ders + 1], at = der, stop
  end
  return ders
end

--- The answer to a submission that was logged: { timestamp (ms),
--- signature (DigitallySigned) }.
function M.logged(sct)
  return pack(">I2I8s2", 200, sct.timestamp, sct.signature)
end

--- Any other answer: 404 (send the whole chain), 400 or 503, and why.
function M.refusal(status, message)
  return pack(">I2s2", status, message:sub(1, 1000))
end

--- Reads an answer: { status, timestamp_ms, signature } or { status, body };
--- nil when it is malformed.
function M.read_answer(bytes)
  local ok, status = pcall(unpack, ">I2", bytes)
  if not ok then return nil end
  local form = status == 200 and ">I2I8s2" or ">I2s2"
  local first, second, stop
  ok, status, first, second, stop = pcall(unpack, form, bytes)
  if not ok then return nil end
  if status ~= 200 then return { status = status, body = first } end
  if stop ~= #bytes + 1 then return nil end
  return { status = 200, timestamp_ms = first, signature = second }
end

return M
