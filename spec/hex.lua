--- The bytes of hexadecimal digits; blanks between them do not count.
return function(text)
  return (text:gsub("%s", ""):gsub("..", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end
