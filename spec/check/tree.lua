--- The files that the checks look at, and how a finding is reported.
local tree = { found = 0 }

--- Paths of our own files under the usual folders that match a pattern.
function tree.files(pattern)
  local list = {}
  local find = io.popen("find Makefile README.md CHANGELOG.md engine lua"
    .. " policies spec examples .ci -name node_modules -prune -o -type f"
    .. " -print 2>/dev/null | LC_ALL=C sort")
  for path in find:lines() do
    if path:match(pattern) then list[#list + 1] = path end
  end
  find:close()
  return list
end

--- The whole text of a file.
function tree.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- The lines of a text, with or without a final newline.
function tree.lines(text)
  return (text:gsub("([^\n])$", "%1\n")):gmatch("([^\n]*)\n")
end

--- Says what is wrong where.
function tree.report(path, line, message)
  tree.found = tree.found + 1
  print(("%s:%d: %s"):format(path, line, message))
end

--- Ends the check: status 1 when something was reported.
function tree.done()
  os.exit(tree.found == 0)
end

return tree
