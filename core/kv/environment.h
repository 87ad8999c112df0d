// The LMDB environment behind Store: opening, finding damage, starting anew.
//
// LMDB does not check what it reads: a damaged page may end the process.  So the first process that opens the
// environment lets a child walk through all of it; a child that dies or finds an error condemns the file.
#pragma once

#include <lmdb.h>

#include <string>

#include "core/base/log.h"
#include "core/base/result.h"

namespace millrace::kv {

class Environment {
 public:
  Environment(std::string directory, std::size_t map_bytes, log::Logger log)
      : directory_(std::move(directory)), map_bytes_(map_bytes), log_(std::move(log)) {}
  ~Environment() { close(); }
  Environment(const Environment&) = delete;

  Result<void> open();
  void close();   // marks the state as whole when nobody else has it open
  // The file is damaged: all processes that notice take part in replacing it once.
  Result<void> start_anew(const char* why);
  // Did another process replace the file since open()?
  bool is_replaced() const;

  MDB_env* env() const { return env_; }
  MDB_dbi dbi() const { return dbi_; }

 private:
  std::string file(const char* name) const { return directory_ + "/" + name; }
  Result<void> lock();
  void release();
  int open_file();
  bool is_sound() const;
  bool survived_restart() const;
  void discard();
  void close_file();

  std::string directory_;
  std::size_t map_bytes_;
  log::Logger log_;
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
  int lock_fd_ = -1, users_fd_ = -1;
  unsigned long inode_ = 0;
};

}  // namespace millrace::kv
