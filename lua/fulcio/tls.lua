--- Certificates that the ports show, and their keys: files that may change.

local engine = require("fulcio.engine")

local PORTS = { "http", "grpc" }

local M = {}

-- The two files of a port; "" where none was given.
local function files(settings, port)
  return settings[port .. "_tls_certificate"] or "",
    settings[port .. "_tls_key"] or ""
end

--- Whether both ports are the same one.
function M.is_shared(settings)
  return settings.host == settings.grpc_host
    and settings.port == settings.grpc_port and settings.port ~= 0
end

local function open(settings, port)
  local certificate, key = files(settings, port)
  if certificate == "" and key == "" then return nil end
  if certificate == "" or key == "" then
    return nil, ("--%s-tls-certificate and --%s-tls-key need each other")
      :format(port, port)
  end
  local tls, message = engine.server.tls({ certificate = certificate,
                                           key = key })
  if tls then return tls end
  return nil, ("--%s-tls-%s: %s"):format(
    port, message:sub(1, #key) == key and "key" or "certificate", message)
end

--- Opens what the flags name: a table of ports that speak TLS, and a list
--- of what is wrong.
function M.open(settings)
  local found, errors = {}, {}
  for _, port in ipairs(PORTS) do
    found[port], errors[#errors + 1] = open(settings, port)
  end
  if not M.is_shared(settings) then return found, errors end
  if found.http and found.grpc and (settings.http_tls_certificate
                                    ~= settings.grpc_tls_certificate) then
    errors[#errors + 1] = "--http-tls-certificate and"
      .. " --grpc-tls-certificate differ on one and the same port"
  end
  found.http = found.http or found.grpc
  found.grpc = found.http
  return found, errors
end

--- A text that changes when one of the files does.
function M.stamp(settings)
  local stamps = {}
  for _, port in ipairs(PORTS) do
    for _, path in ipairs({ files(settings, port) }) do
      local found = path ~= "" and engine.system.stat(path)
      stamps[#stamps + 1] = found and found.stamp or ""
    end
  end
  return table.concat(stamps, " ")
end

--- Loads them again in this process; what is bad stays as it was. Returns
--- a list of what is wrong.
function M.reload(found)
  local errors = {}
  for _, port in ipairs(PORTS) do
    local ok, message = true, nil
    if found[port] then ok, message = found[port]:reload() end
    if not ok then errors[#errors + 1] = message end
  end
  return errors
end

return M
