--- Fuzzing: Fulcio's own configuration files, YAML and JSON.

local config_import = require("fulcio.config_import")
local policy = require("fulcio.policy")

return function(bytes)
  local sources, errors = config_import.parse("config.yaml", bytes)
  if not sources then
    assert(#errors > 0)
    return
  end
  local set, problems = policy.load(sources)
  assert(set or #problems > 0)
end
