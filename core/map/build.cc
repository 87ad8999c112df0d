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

// Fills a new LMDB file at `path`.  Keys and values end in a NUL byte, as Debian's postmap writes them.
Result<void> fill(const std::string& path, const std::map<std::string, std::string>& entries, std::size_t map_size,
                  bool& full) {
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
      key.assign(left) += '\0';
      value.assign(right) += '\0';
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

std::map<std::string, std::string> parse_source(std::string_view text, const std::string& name,
                                                const BuildOptions& options) {
  std::map<std::string, std::string> out;
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
    if (!is_valid_utf8(line)) {
      warn("non-UTF-8 input \"" + printable(line) + "\" -- ignoring this line");
      continue;
    }
    const auto pair = split_key_value(line);
    if (!pair) {
      warn(pair.error().context);
      continue;
    }
    if (pair->looks_like_alias) warn("record is in \"key: value\" format; is this an alias file?");
    const auto [at, fresh] = out.try_emplace(lower(pair->key), pair->value);
    if (fresh) continue;
    if (options.duplicates == BuildOptions::Duplicates::replace) at->second = pair->value;
    if (options.duplicates == BuildOptions::Duplicates::warn) warn("duplicate entry: \"" + at->first + "\"");
  }
  return out;
}

Result<void> build_lmdb(const std::string& text_path, const BuildOptions& options) {
  const auto text = read_file(text_path, kSourceLimit);
  if (!text) return fail(text.error().code == Errc::not_found ? Errc::config : text.error().code, text.error().context);
  struct stat source;
  if (::stat(text_path.c_str(), &source) != 0) return fail(Errc::io, text_path + ": " + std::strerror(errno));
  const auto entries = parse_source(*text, text_path, options);
  for (const auto& [key, value] : entries) {
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
  const bool owned = ::fchmod(fd, (source.st_mode & 0644) | 0600) == 0 &&
                     (::geteuid() != 0 || ::fchown(fd, source.st_uid, source.st_gid) == 0);
  const int owner_error = errno;
  ::close(fd);
  if (!owned) return give_up({Errc::io, fresh + ": " + std::strerror(owner_error)});
  std::size_t map_size = std::max<std::size_t>(1 << 20, text->size() * 4);
  while (true) {
    bool full = false;
    auto filled = fill(fresh, entries, map_size, full);
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

}  // namespace millrace::map
