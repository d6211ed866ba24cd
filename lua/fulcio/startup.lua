--- What is loaded and checked before any process is started.

local ctclient = require("fulcio.ctclient")
local flags = require("fulcio.flags")
local identity = require("fulcio.ctlog.identity")
local policyset = require("fulcio.policyset")
local proof = require("fulcio.proof")
local shelf = require("fulcio.shelf")
local tls = require("fulcio.tls")
local watch = require("fulcio.watch")

local backends = {
  ephemeralca = "fulcio.ca.ephemeral",
  fileca = "fulcio.ca.file",
  googleca = "fulcio.ca.googleca",
  kmsca = "fulcio.ca.kms",
  pkcs11ca = "fulcio.ca.pkcs11",
}

local function is_loopback(host)
  return host == "localhost" or host == "::1"
    or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function open_ca(settings)
  local backend = backends[settings.ca]
  if not backend then
    return nil, ("--ca=%s is not built yet. Try: pkcs11ca, googleca,"
      .. " kmsca, fileca or ephemeralca"):format(settings.ca)
  end
  return require(backend).open(settings)
end

-- The log that certificates go to: our own unless there is a URL, none when
-- the URL is empty. nil, and a message when it cannot be.
local function open_log(settings)
  local given = settings.ct_log_url
  if given == "" then return nil end
  if not given then
    local files = identity.files(settings.data_dir)
    return ctclient.new({
      unix = files.socket, dialog = files.dialog,
      public_key_file = files.public,
    })
  end
  local pem, message
  if settings.ct_log_public_key_path ~= "" then
    pem, message = shelf.read(settings.ct_log_public_key_path)
    if not pem then return nil, "--ct-log-public-key-path: " .. message end
  end
  local function set(text) return text ~= "" and text or nil end
  return ctclient.new({
    url = given, public_key = pem, origin = set(settings.ct_log_origin),
    ca_file = set(settings.ct_log_tls_ca_cert),
  })
end

local M = {}

--- Everything that a start needs and that can be wrong: { options, ca,
--- log, policies, sources, algorithms, tls, tls_revision, watch,
--- generation }; nil and a list of all that is wrong.
function M.prepare(settings)
  local world, errors = { options = settings, generation = 0 }, {}
  local function checked(value, wrong)
    for _, text in ipairs(type(wrong) == "table" and wrong or { wrong }) do
      errors[#errors + 1] = text
    end
    return value
  end
  settings.loopback = is_loopback(settings.host)
    and is_loopback(settings.grpc_host)
  world.watch = watch.new(world)
  world.algorithms =
    checked(proof.algorithms(settings.client_signing_algorithms))
  world.sources = checked(policyset.read(settings))
  if world.sources then
    world.sources.revision = 0
    local wrong, left
    world.policies, wrong, left = policyset.load(world.sources, settings,
                                                 true)
    checked(nil, wrong)
    policyset.tell(left)
  end
  world.tls = checked(tls.open(settings))
  world.tls_revision = 0
  world.ca = checked(open_ca(settings))
  world.log = checked(open_log(settings))
  if errors[1] then return nil, errors end
  return world
end

--- The flags that were given although only another `--ca` looks at them.
function M.ignored(settings)
  local names = {}
  for _, group in ipairs(flags.serve) do
    for _, flag in ipairs(group) do
      local given = settings.given[flag[1]:gsub("[-.]", "_")]
      if flag.backend and flag.backend ~= settings.ca and given then
        names[#names + 1] = given
      end
    end
  end
  return names
end

return M
