--- engine/merkle.c: the log's tree, against RFC 6962's definition.
local engine = require("fulcio.engine")
local files = require("spec.files")
local unhex = require("spec.hex")

local merkle = engine.merkle
local sha256, hex = engine.bytes.sha256, engine.bytes.hex

local vectors = engine.claims.parse(
  files.read("spec/fixtures/ct-vectors.json"))

-- RFC 6962 section 2.1, word for word; `leaves` are leaf hashes.
local function largest_power(n)
  local k = 1
  while k * 2 < n do k = k * 2 end
  return k
end

local function root_of(leaves, first, last)
  if last < first then return sha256("") end
  if first == last then return leaves[first] end
  local k = largest_power(last - first + 1)
  return sha256("\1" .. root_of(leaves, first, first + k - 1)
    .. root_of(leaves, first + k, last))
end

local function path_of(leaves, m, first, last, path)
  if first == last then return path end
  local k = largest_power(last - first + 1)
  if m < k then
    path_of(leaves, m, first, first + k - 1, path)
    path[#path + 1] = root_of(leaves, first + k, last)
  else
    path_of(leaves, m - k, first + k, last, path)
    path[#path + 1] = root_of(leaves, first, first + k - 1)
  end
  return path
end

local function consistency_of(leaves, m, first, last, whole, proof)
  local n = last - first + 1
  if m == n then
    if not whole then proof[1] = root_of(leaves, first, last) end
    return proof
  end
  local k = largest_power(n)
  if m <= k then
    consistency_of(leaves, m, first, first + k - 1, whole, proof)
    proof[#proof + 1] = root_of(leaves, first + k, last)
  else
    consistency_of(leaves, m - k, first + k, last, false, proof)
    proof[#proof + 1] = root_of(leaves, first, first + k - 1)
  end
  return proof
end

local function leaves_of(n)
  local leaves = {}
  for i = 1, n do leaves[i] = merkle.leaf_hash("leaf " .. i) end
  return leaves
end

describe("merkle", function()
  it("hashes leaves with their prefix", function()
    assert.equal(sha256("\0"), merkle.leaf_hash(""))
    assert.equal(sha256("\0abc"), merkle.leaf_hash("abc"))
  end)

  it("holds the shared vectors", function()
    local inputs = {
      "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
      "606162636465666768696a6b6c6d6e6f",
    }
    local tree = merkle.tree()
    assert.equal(sha256(""), tree:root())
    for i, vector in ipairs(vectors.rfc6962_tree) do
      tree:append(merkle.leaf_hash(unhex(inputs[i])))
      assert.equal(vector.n, tree.size)
      assert.equal(vector.root, hex(tree:root()))
    end
    assert.equal(8, tree.size)

    local small = merkle.tree()
    small:append(unhex(vectors.tree.h0 .. vectors.tree.h1 .. vectors.tree.h2))
    assert.equal(vectors.tree.root, hex(small:root()))
    for name, proof in pairs({
      inclusion_proof_idx2_size3 = small:inclusion(2, 3),
      consistency_2_3 = small:consistency(2, 3),
      consistency_1_3 = small:consistency(1, 3),
    }) do
      assert.equal(#vectors.tree[name], #proof)
      for i, hash in ipairs(proof) do
        assert.equal(vectors.tree[name][i], hex(hash))
      end
    end
  end)

  it("gives root and proofs of every size up to 40", function()
    local leaves = leaves_of(40)
    local tree = merkle.tree()
    tree:append(table.concat(leaves))
    for size = 0, 40 do
      assert.equal(root_of(leaves, 1, size), tree:root(size))
      for index = 0, size - 1 do
        assert.same(path_of(leaves, index, 1, size, {}),
          tree:inclusion(index, size))
      end
      for first = 1, size do
        assert.same(consistency_of(leaves, first, 1, size, true, {}),
          tree:consistency(first, size))
      end
      assert.same({}, tree:consistency(0, size))
    end
    assert.equal(tree:root(40), tree:root())
  end)

  it("does not mind how leaves are appended", function()
    local leaves = leaves_of(300)
    local one, many = merkle.tree(), merkle.tree()
    for _, leaf in ipairs(leaves) do one:append(leaf) end
    many:append("")
    many:append(table.concat(leaves, "", 1, 7))
    many:append(table.concat(leaves, "", 8, 264))
    many:append(table.concat(leaves, "", 265, 300))
    assert.equal(root_of(leaves, 1, 300), one:root())
    for size = 0, 300 do assert.equal(one:root(size), many:root(size)) end
  end)

  it("verifies the inclusion it proves", function()
    local leaves = leaves_of(33)
    local tree = merkle.tree()
    tree:append(table.concat(leaves))
    for _, size in ipairs({ 1, 2, 3, 7, 8, 9, 31, 32, 33 }) do
      local root = tree:root(size)
      for index = 0, size - 1 do
        local path, leaf = tree:inclusion(index, size), leaves[index + 1]
        local verify = merkle.verify_inclusion
        assert.is_true(verify(leaf, index, size, path, root))
        assert.is_false(verify(sha256(leaf), index, size, path, root))
        assert.is_false(verify(leaf, index, size, path, sha256(root)))
        assert.is_false(verify(leaf, size, size, path, root))
        assert.is_false(verify(leaf, -1, size, path, root))
        assert.is_false(verify(leaf, index, 0, path, root))
        if size > 1 then
          assert.is_false(verify(leaf, (index + 1) % size, size, path, root))
        end
        path[#path + 1] = root
        assert.is_false(verify(leaf, index, size, path, root))
        path[#path] = nil
        path[#path] = nil
        assert.equal(size == 1, verify(leaf, index, size, path, root))
      end
    end
  end)

  it("takes a path that is no path for a wrong one", function()
    local leaf = sha256("x")
    for _, path in ipairs({ { 1 }, { "short" }, { {} }, { leaf .. "x" } }) do
      assert.is_false(merkle.verify_inclusion(leaf, 0, 2, path, leaf))
    end
  end)

  it("throws on what it cannot have", function()
    local tree = merkle.tree()
    tree:append(sha256("a") .. sha256("b"))
    for _, run in ipairs({
      function() tree:append("short") end,
      function() tree:append() end,
      function() tree:root(3) end,
      function() tree:root(-1) end,
      function() tree:inclusion(2, 2) end,
      function() tree:inclusion(0, 3) end,
      function() tree:inclusion(0, 0) end,
      function() tree:inclusion(-1, 1) end,
      function() tree:consistency(2, 1) end,
      function() tree:consistency(1, 3) end,
      function() tree.append({}, sha256("a")) end,
      function() merkle.verify_inclusion("short", 0, 1, {}, sha256("")) end,
      function() merkle.verify_inclusion(sha256(""), 0, 1, {}, "short") end,
      function() merkle.verify_inclusion(sha256(""), 0, 1, 7, sha256("")) end,
      function() merkle.leaf_hash() end,
    }) do
      assert.has_error(run)
    end
    assert.equal(2, tree.size)
    assert.is_nil(tree.unknown)
    assert.is_nil(tree[1])
  end)
end)
