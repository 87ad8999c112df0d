#include "core/map/lmdb_file.h"

#include <lmdb.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace millrace::map {

FileIdentity FileIdentity::of(const std::string& path) {
  struct stat status;
  FileIdentity out;
  if (::stat(path.c_str(), &status) != 0) return out;
  out.device = status.st_dev;
  out.inode = status.st_ino;
  out.size = static_cast<unsigned long long>(status.st_size);
  out.changed_ns = status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec;
  return out;
}

struct LmdbFile::Handles {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;   // reset between look-ups
  MDB_dbi dbi = 0;
  ~Handles() {
    if (txn) mdb_txn_abort(txn);
    if (env) mdb_env_close(env);
  }
};

LmdbFile::~LmdbFile() = default;

Result<std::unique_ptr<LmdbFile>> LmdbFile::open(const std::string& path) {
  std::unique_ptr<LmdbFile> out(new LmdbFile());
  out->path_ = path;
  // Before the open: a change in between is then seen as one at the next refresh.
  out->identity_ = FileIdentity::of(path);
  out->handles_ = std::make_unique<Handles>();
  Handles& handles = *out->handles_;
  const auto failed = [&](int error) {
    const Errc code = error == ENOENT ? Errc::not_found
                      : error == MDB_INVALID || error == MDB_VERSION_MISMATCH ? Errc::config
                                                                               : Errc::io;
    return fail(code, "open database " + path + ": " + mdb_strerror(error));
  };
  if (int error = mdb_env_create(&handles.env)) return failed(error);
  // No lock file: the reader may not write there, and our files are replaced whole, never changed.
  if (int error = mdb_env_open(handles.env, path.c_str(), MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0))
    return failed(error);
  if (int error = mdb_txn_begin(handles.env, nullptr, MDB_RDONLY, &handles.txn)) return failed(error);
  if (int error = mdb_dbi_open(handles.txn, nullptr, 0, &handles.dbi)) return failed(error);
  // The handle must outlive this transaction: a read-only one has nothing to lose by a commit.
  if (int error = mdb_txn_commit(std::exchange(handles.txn, nullptr))) return failed(error);
  if (int error = mdb_txn_begin(handles.env, nullptr, MDB_RDONLY, &handles.txn)) return failed(error);
  mdb_txn_reset(handles.txn);
  return out;
}

Lookup LmdbFile::get(std::string_view key) {
  Handles& handles = *handles_;
  if (key.empty() || key.size() >= static_cast<std::size_t>(mdb_env_get_maxkeysize(handles.env)))
    return std::optional<std::string>();
  if (int error = mdb_txn_renew(handles.txn))
    return fail(Errc::temporary, path_ + ": " + mdb_strerror(error));
  std::string with_nul(key);
  with_nul += '\0';
  Lookup result = std::optional<std::string>();
  for (const Ending ending : {Ending::nul, Ending::plain}) {
    if (ending_ != Ending::unknown && ending_ != ending) continue;
    MDB_val wanted{with_nul.size() - (ending == Ending::plain ? 1 : 0), with_nul.data()};
    MDB_val value;
    const int error = mdb_get(handles.txn, handles.dbi, &wanted, &value);
    if (error == MDB_NOTFOUND) continue;
    if (error != 0) {
      result = fail(Errc::temporary, path_ + ": " + mdb_strerror(error));
      break;
    }
    ending_ = ending;
    std::string_view text(static_cast<const char*>(value.mv_data), value.mv_size);
    if (ending == Ending::nul && !text.empty() && text.back() == '\0') text.remove_suffix(1);
    result = std::optional<std::string>(text);
    break;
  }
  mdb_txn_reset(handles.txn);
  return result;
}

}  // namespace millrace::map
