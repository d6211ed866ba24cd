--- What the clients need: their runtimes, and the libraries themselves, which
--- are installed from their registries into build/clients.
local HERE = "spec/clients"

local runtimes = { built = "build/clients" }

-- Runs a shell command; nil and its output when it fails.
local function shell(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1")
  local output = pipe:read("a")
  if pipe:close() then return output end
  return nil, output
end

local function version(command, pattern)
  local text = shell(command)
  if not text then return nil end
  local major, minor = text:match(pattern)
  return major and tonumber(major) * 1000 + (tonumber(minor) or 0)
end

-- Whether a runtime is new enough: true, or nil and why not.
local function has(name, command, pattern, major, minor)
  local found = version(command, pattern)
  if not found then return nil, name .. " is not installed" end
  if found >= major * 1000 + minor then return true end
  return nil, ("%s is older than %d.%d"):format(name, major, minor)
end

local required = {
  python = function()
    return has("Python", "python3 --version", "(%d+)%.(%d+)", 3, 10)
  end,
  node = function()
    return has("Node.js", "node --version", "v(%d+)%.(%d+)", 20, 17)
  end,
  go = function()
    return has("Go", "go version", "go(%d+)%.(%d+)", 1, 25)
  end,
}

function required.java()
  local ready, reason = has("Maven", "mvn --version", "Maven (%d+)%.(%d+)",
    3, 6)
  if not ready then return nil, reason end
  return has("Java's compiler", "javac -version", "javac (%d+)%.?(%d*)",
    17, 0)
end

required.google, required.kms = required.python, required.python
required.pkilint = required.python

-- Packages of PyPI in an environment of their own.
local function venv(name)
  return ([[
    cmp -s HERE/NAME/requirements.txt BUILT/NAME/installed || {
      python3 -m venv BUILT/NAME &&
      BUILT/NAME/bin/pip install -q --disable-pip-version-check \
        -r HERE/NAME/requirements.txt &&
      cp HERE/NAME/requirements.txt BUILT/NAME/installed; }]])
    :gsub("NAME", name)
end

-- Each is quick when it has been done before.
local installers = {
  google = venv("google"),
  kms = venv("kms"),
  pkilint = venv("pkilint"),
  python = venv("python"),
  node = [[
    mkdir -p BUILT/node && cp HERE/node/* BUILT/node/ && cd BUILT/node &&
    { cmp -s package-lock.json installed ||
      { npm ci --silent --no-audit --no-fund &&
        cp package-lock.json installed; }; }]],
  java = [[
    mkdir -p BUILT/java && cp -u HERE/java/* BUILT/java/ && cd BUILT/java &&
    { cmp -s pom.xml installed ||
      { mvn -q -B -ntp -Dmaven.repo.local="$PWD/repository" \
          org.apache.maven.plugins:maven-dependency-plugin:3.8.1:]]
      .. [[copy-dependencies \
          -DincludeScope=runtime -DoutputDirectory=lib &&
        cp pom.xml installed; }; } &&
    { test classes/Client.class -nt Client.java ||
      javac -d classes -cp 'lib/*' Client.java; }]],
  go = [[
    bin=$PWD/BUILT && cd HERE && go build -o "$bin/" ./... &&
    GOBIN="$bin" go install tool]],
}

--- Installs what a runtime needs: true, or nil and why it cannot be.
function runtimes.install(name)
  local ready, reason = required[name]()
  if not ready then return nil, reason end
  local places = { HERE = HERE, BUILT = runtimes.built }
  local command = ("mkdir -p BUILT && " .. installers[name]):gsub("%u+", places)
  local done, output = shell(command)
  if not done then error(name .. ": " .. output) end
  return true
end

return runtimes
