--- Fuzzing: what is read of Certificate Transparency is written the same.

local engine = require("fulcio.engine")

local sct = engine.sct

return function(bytes)
  local entry = sct.parse_leaf(bytes)
  if entry then assert(sct.leaf(entry) == bytes, "another leaf") end
  local one = sct.parse(bytes)
  if one then assert(sct.serialize(one) == bytes, "another SCT") end
  local list = sct.parse_list(bytes)
  if list then assert(sct.list(list) == bytes, "another list") end
  for _, text in ipairs(list or {}) do sct.parse(text) end
end
