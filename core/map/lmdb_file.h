// A FILE.lmdb opened for reading: ours, or one made by Postfix's postmap (lmdb_table(5)).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/map/table.h"

namespace millrace::map {

// Which file a path names just now, and in which state; equal when nothing changed.
struct FileIdentity {
  unsigned long long device = 0, inode = 0, size = 0;
  long long changed_ns = 0;
  bool operator==(const FileIdentity&) const = default;
  static FileIdentity of(const std::string& path);   // all zero when there is none
  bool exists() const { return inode != 0; }
};

// Not thread-safe.  Holds no read transaction between calls.
class LmdbFile {
 public:
  // Errors: not_found, config (no LMDB file), io.
  static Result<std::unique_ptr<LmdbFile>> open(const std::string& path);
  ~LmdbFile();
  // Errors: temporary.
  Lookup get(std::string_view key);
  const FileIdentity& identity() const { return identity_; }

 private:
  LmdbFile() = default;
  struct Handles;
  std::unique_ptr<Handles> handles_;
  FileIdentity identity_;
  std::string path_;
  // Do keys end in a NUL byte, as postmap writes them?  Found out at the first hit.
  enum class Ending { unknown, nul, plain } ending_ = Ending::unknown;
};

}  // namespace millrace::map
