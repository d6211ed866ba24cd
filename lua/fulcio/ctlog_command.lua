--- `fulcio ctlog`: the certificate transparency log alone.

local ctlog = require("fulcio.ctlog")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local options = require("fulcio.options")
local shelf = require("fulcio.shelf")

local function refuse(errors)
  if type(errors) ~= "table" then errors = { errors } end
  for _, message in ipairs(errors) do
    io.stderr:write("fulcio ctlog: ", message, "\n")
  end
  return 1
end

-- Every certificate of a file, as PEM texts; nil and a message.
local function read_roots(path)
  if path == "" then return {} end
  local text, message = shelf.read(path)
  if not text then return nil, "--roots: " .. message end
  local certificates
  certificates, message = engine.x509.parse(text)
  if not certificates then return nil, "--roots: " .. message end
  local pems = {}
  for i, certificate in ipairs(certificates) do pems[i] = certificate.pem end
  return pems
end

local M = {}

--- Runs the log until SIGTERM or SIGINT; returns the exit status.
function M.run(arguments)
  local settings, wrong = options.parse("ctlog", arguments)
  if not settings then return refuse(wrong) end
  log.open({ mode = settings.log_type })
  local roots, listeners, ok
  roots, wrong = read_roots(settings.roots)
  if not roots then return refuse(wrong) end
  listeners, wrong = ctlog.listen({ data_dir = settings.data_dir,
    host = settings.ctlog_host, port = settings.ctlog_port })
  if not listeners then return refuse(wrong) end
  ok, wrong = engine.system.harden({
    user = settings.user ~= "" and settings.user or nil })
  if not ok then return refuse(wrong) end
  log.info("listening", { service = "ctlog",
                          url = "http://" .. listeners.tcp.address })
  ok, wrong = ctlog.run({ data_dir = settings.data_dir, roots = roots,
                          listeners = listeners })
  return ok and 0 or refuse(wrong)
end

return M
