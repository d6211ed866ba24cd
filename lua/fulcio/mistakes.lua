--- What is wrong with the files that are loaded, as people read it.
---
--- Of one file so much is told as somebody mends at once; behind that, no
--- more work is done for it. What throws while a file is looked at is a
--- mistake of that file, and our own: its trace is logged.

local log = require("fulcio.log")
local words = require("fulcio.words")

local MOST = 50 -- of one file

local MORE = ("and more mistakes: here are the first %d of them"):format(MOST)

local enough = {} -- thrown behind the last mistake that is told

local Mistakes = {}
Mistakes.__index = Mistakes

-- What was told of a file: { count, line, the largest }.
function Mistakes:told(file)
  local told = self.files[file] or { count = 0, line = 1 }
  self.files[file] = told
  return told
end

function Mistakes:put(file, line, message, more)
  self.list[#self.list + 1] = { file = file, line = line, more = more,
                                message = words.line(message) }
end

--- Tells one mistake; false when the file has had enough of them.
function Mistakes:add(file, line, message)
  local told = self:told(file)
  told.count, told.line = told.count + 1, math.max(told.line, line)
  if told.count <= MOST then
    self:put(file, line, message)
    return true
  end
  if told.count == MOST + 1 then self:put(file, told.line, MORE, true) end
  return false
end

--- A function that tells what is wrong at a path of a file, on the line
--- that `line_of(path)` says. Only for use inside `guard`: it throws when
--- that is enough.
function Mistakes:reporter(file, line_of)
  return function(path, message)
    if not self:add(file, line_of(path), message) then error(enough, 0) end
  end
end

local function traced(thrown)
  if thrown == enough then return enough end
  return { message = tostring(thrown),
           trace = debug.traceback(tostring(thrown), 2) }
end

-- What a guarded function gave back, or nothing when it threw.
function Mistakes:outcome(file, ok, thrown, ...)
  if ok then return thrown, ... end
  if thrown == enough then return end
  -- a stack or memory that is full leaves no room for a trace
  if type(thrown) ~= "table" then thrown = { message = tostring(thrown) } end
  log.error("a file cannot be read", { file = file,
                                       trace = thrown.trace or thrown.message })
  self:add(file, 1, "cannot be read: " .. thrown.message)
end

--- Runs a function that looks at a file, and gives back its results; none
--- when it ended before its end.
function Mistakes:guard(file, run, ...)
  return self:outcome(file, xpcall(run, traced, ...))
end

local function by_place(a, b)
  if a.file ~= b.file then return a.file < b.file end
  if a.more ~= b.more then return b.more end
  if a.line ~= b.line then return a.line < b.line end
  return a.message < b.message
end

--- All that was told, { file, line, message } each, by file and line.
function Mistakes:sorted()
  table.sort(self.list, by_place)
  return self.list
end

local M = {}

--- A list without mistakes so far.
function M.new()
  return setmetatable({ list = {}, files = {} }, Mistakes)
end

return M
