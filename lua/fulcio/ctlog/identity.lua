--- The log's own key, made once: who loses it has lost the log.

local engine = require("fulcio.engine")

local M = {}

--- The files of a log in a data directory.
function M.files(data_dir)
  return {
    database = data_dir .. "/ctlog.db",
    key = data_dir .. "/ctlog.key.pem",
    public = data_dir .. "/ctlog.pub.pem",
    socket = data_dir .. "/ctlog.sock",
    dialog = data_dir .. "/ctlog.dialog",
  }
end

local function generate(files)
  if engine.system.stat(files.database) then
    return nil, ("%s: missing, but %s was made with it; bring it back")
      :format(files.key, files.database), "no_file"
  end
  local key, message, code = engine.pkey.generate("P-256")
  if not key then return nil, message, code end
  local saved
  saved, message, code = key:save(files.key)
  -- Somebody else may have been quicker; then that key is the log's.
  if not saved and code ~= "exists" then return nil, message, code end
  return engine.pkey.open(files.key)
end

--- Opens the key, or makes it for a log that is new.
function M.open(files)
  local stat = engine.system.stat
  if stat(files.public) and not stat(files.database) then
    return nil, ("%s: missing, but this log was in use; bring it back, or "
      .. "remove %s and %s to begin another log"):format(files.database,
      files.key, files.public), "no_file"
  end
  local key, message, code
  if stat(files.key) then
    key, message, code = engine.pkey.open(files.key)
  else
    key, message, code = generate(files)
  end
  if not key then return nil, message, code end
  if key.name ~= "P-256" then
    return nil, ("%s: %s, but a log signs with P-256"):format(files.key,
      key.name), "bad_key"
  end
  return key
end

--- Writes the public key for those who verify what the log signs.
function M.publish(files, key)
  return engine.system.write(files.public, key:pem(), { mode = 420 })
end

return M
