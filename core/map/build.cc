#include "core/map/build.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::map {

namespace {

constexpr std::size_t kSourceLimit = std::size_t{1} << 30;

// Fills a new LMDB file at `path`.
Result<void> fill(const std::string& path, const Entries& entries, std::size_t map_size, bool terminate, bool& full) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  const auto run = [&]() -> int {
    if (int error = mdb_env_create(&env)) return error;
    if (int error = mdb_env_set_mapsize(env, map_size)) return error;
    if (int error = mdb_env_open(env, path.c_str(), MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600)) return error;
    if (int error = mdb_txn_begin(env, nullptr, 0, &txn)) return error;
    MDB_dbi dbi;
    if (int error = mdb_dbi_open(txn, nullptr, 0, &dbi)) return error;
    if (int error = mdb_drop(txn, dbi, 0)) return error;
    std::string key, value;
    for (const auto& [left, right] : entries) {
      key = left;
      value = right;
      if (terminate) {
        key += '\0';
        value += '\0';
      }
      MDB_val k{key.size(), key.data()}, v{value.size(), value.data()};
      if (int error = mdb_put(txn, dbi, &k, &v, 0)) return error;
    }
    return mdb_txn_commit(std::exchange(txn, nullptr));
  };
  const int error = run();
  if (txn) mdb_txn_abort(txn);
  if (env) mdb_env_close(env);
  full = error == MDB_MAP_FULL;
  if (error == 0) return {};
  return fail(error == ENOSPC ? Errc::no_space : Errc::io, path + ": " + mdb_strerror(error));
}

Result<void> sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool ok = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (ok) return {};
  return fail(error == ENOSPC ? Errc::no_space : Errc::io, "sync " + path + ": " + std::strerror(error));
}

}  // namespace

void add_entry(Entries& entries, const std::string& key, std::string value, const BuildOptions& options) {
  const auto [at, fresh] = entries.try_emplace(key, value);
  if (fresh) return;
  if (options.duplicates == BuildOptions::Duplicates::replace) at->second = std::move(value);
  if (options.duplicates == BuildOptions::Duplicates::warn && options.warn) options.warn("duplicate entry: \"" + key + "\"");
}

Entries parse_source(std::string_view text, const std::string& name, const BuildOptions& options) {
  Entries out;
  LineReader reader(text);
  while (reader.next()) {
    const auto warn = [&](const std::string& what) {
      if (options.warn) options.warn(name + ", line " + std::to_string(reader.number()) + ": " + what);
    };
    const std::string& line = reader.line();
    if (is_space(line[0])) {
      warn("logical line must not start with whitespace -- ignoring this line");
      continue;
    }
    if (options.utf8 && !is_valid_utf8(line)) {
      warn("non-UTF-8 input \"" + printable(line) + "\" -- ignoring this line");
      continue;
    }
    const auto pair = split_key_value(line);
    if (!pair) {
      warn(pair.error().context);
      continue;
    }
    if (pair->looks_like_alias) warn("record is in \"key: value\" format; is this an alias file?");
    BuildOptions here = options;
    here.warn = warn;
    std::string value(pair->value);
    if (options.convert) {
      auto converted = options.convert(value);
      if (!converted) {
        warn(converted.error().context + ": skipping this entry");
        continue;
      }
      value = std::move(*converted);
    }
    add_entry(out, options.fold ? lower(pair->key) : std::string(pair->key), std::move(value), here);
  }
  return out;
}

Result<void> build_lmdb(const std::string& text_path, const BuildOptions& options) {
  const auto text = read_file(text_path, kSourceLimit);
  if (!text) return fail(text.error().code == Errc::not_found ? Errc::config : text.error().code, text.error().context);
  return write_lmdb(text_path, parse_source(*text, text_path, options), text_path, options);
}

Result<void> write_lmdb(const std::string& text_path, const Entries& entries, const std::string& like,
                        const BuildOptions& options) {
  struct stat source;
  const bool inherits = !like.empty();   // a table that is new and has no source does not
  if (inherits && ::stat(like.c_str(), &source) != 0) return fail(Errc::io, like + ": " + std::strerror(errno));
  std::size_t bytes = 0;
  for (const auto& [key, value] : entries) {
    bytes += key.size() + value.size() + 2;
    if (key.size() + 1 > 511) return fail(Errc::config, text_path + ": key longer than 510 bytes: \"" + key + "\"");
  }
  std::string fresh = text_path + ".lmdb.XXXXXX";
  const int fd = ::mkstemp(fresh.data());
  if (fd < 0) return fail(Errc::io, "create " + fresh + ": " + std::strerror(errno));
  const auto give_up = [&](Error error) {
    ::unlink(fresh.c_str());
    return tl::unexpected(std::move(error));
  };
  // Who may read the source may read the table, and its owner may rebuild it.
  const bool owned = ::fchmod(fd, inherits && options.inherit_mode ? (source.st_mode & 0644) | 0600 : 0644) == 0 &&
                     (::geteuid() != 0 || !inherits || !options.inherit_owner || ::fchown(fd, source.st_uid, source.st_gid) == 0);
  const int owner_error = errno;
  ::close(fd);
  if (!owned) return give_up({Errc::io, fresh + ": " + std::strerror(owner_error)});
  std::size_t map_size = std::max<std::size_t>(1 << 20, bytes * 4);
  while (true) {
    bool full = false;
    auto filled = fill(fresh, entries, map_size, options.terminate, full);
    if (filled) break;
    if (!full) return give_up(filled.error());
    map_size *= 2;
  }
  if (auto synced = sync_path(fresh, O_RDONLY); !synced) return give_up(synced.error());
  const std::string target = text_path + ".lmdb";
  if (::rename(fresh.c_str(), target.c_str()) != 0)
    return give_up({Errc::io, "rename to " + target + ": " + std::strerror(errno)});
  const std::size_t slash = target.rfind('/');
  return sync_path(slash == target.npos ? "." : slash == 0 ? "/" : target.substr(0, slash), O_RDONLY | O_DIRECTORY);
}

Result<Entries> read_lmdb(const std::string& text_path) {
  const std::string path = text_path + ".lmdb";
  if (::access(path.c_str(), F_OK) != 0) {
    return fail(errno == ENOENT ? Errc::not_found : Errc::io, "open database " + path + ": " + std::strerror(errno));
  }
  Entries out;
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_cursor* cursor = nullptr;
  const auto run = [&]() -> int {
    if (int error = mdb_env_create(&env)) return error;
    if (int error = mdb_env_open(env, path.c_str(), MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY, 0)) return error;
    if (int error = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn)) return error;
    MDB_dbi dbi;
    if (int error = mdb_dbi_open(txn, nullptr, 0, &dbi)) return error;
    if (int error = mdb_cursor_open(txn, dbi, &cursor)) return error;
    MDB_val k, v;
    int error;
    while ((error = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
      std::string_view key(static_cast<const char*>(k.mv_data), k.mv_size), value(static_cast<const char*>(v.mv_data), v.mv_size);
      if (key.ends_with('\0')) key.remove_suffix(1);
      if (value.ends_with('\0')) value.remove_suffix(1);
      out.emplace(key, value);
    }
    return error == MDB_NOTFOUND ? 0 : error;
  };
  const int error = run();
  if (cursor) mdb_cursor_close(cursor);
  if (txn) mdb_txn_abort(txn);
  if (env) mdb_env_close(env);
  if (error == 0) return out;
  return fail(error == MDB_INVALID ? Errc::config : Errc::io, path + ": " + mdb_strerror(error));
}

}  // namespace millrace::map
