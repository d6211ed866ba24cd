--- Files of specs, read and written whole.

local M = {}

--- What a file holds; nil when it is not there.
function M.found(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- What a file holds. Throws when it is not there.
function M.read(path)
  return (assert(M.found(path), path .. " is not there"))
end

--- Makes a file, or replaces what it holds.
function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

return M
