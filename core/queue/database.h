// The LMDB environment of the queue: records in, records out, one transaction per batch.
//
// commit() makes a batch durable with one sync, or changes nothing.  It is called by one thread at a time
// (the committer).  Reads copy what they need within one short read transaction, so that none ever holds
// pages back; they and the growing of the map exclude each other by a lock that no fiber can wait under.
#pragma once

#include <lmdb.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/queue/codec.h"
#include "core/queue/store.h"

namespace millrace::net {
class Loop;
}

namespace millrace::queue {

// One change of the store.
struct Operation {
  enum class Kind { add, update, next_id };
  Kind kind = Kind::update;
  std::string queue_id;
  // add
  std::string state, envelope;                  // encoded
  std::shared_ptr<const std::string> content;   // the inline part
  bool side_file = false;
  std::uint64_t content_size = 0;               // with the side file
  std::uint32_t content_crc = 0;                // of all; computed by commit() when there is no side file
  // update
  Update update;
  bool force = false;                           // also when the state record is damaged
  std::optional<std::uint32_t> deaths;
  // next_id
  std::uint64_t next_id = 0;

  // Set by commit(): about this operation alone (not_found, damaged, exists already).
  Result<void> result;
  bool removed_side_file = false;

  bool urgent = false;         // somebody waits
  net::Loop* loop = nullptr;   // where `done` is called; nullptr: on the committing thread
  Store::Done done;

  std::size_t bytes() const { return envelope.size() + (content ? content->size() : 0) + 512; }
};

class Database {
 public:
  static Result<std::unique_ptr<Database>> open(const std::string& path, std::size_t map_bytes, bool sync);
  ~Database();
  Database(const Database&) = delete;

  enum class Outcome { done, no_space, failed };
  // All or nothing.  no_space: nothing changed, may be tried again.  failed: the environment is closed.
  Outcome commit(std::span<Operation*> operations, Error& why);

  struct Message {
    MessageHeader header;
    std::string envelope, content;   // content only when asked for
  };
  Result<std::optional<State>> state(std::string_view queue_id);   // nullopt: none; protocol: damaged
  // Checksum of the envelope verified; of the content not.
  Result<Message> message(std::string_view queue_id, bool with_content);
  Result<std::vector<std::pair<std::uint32_t, RecipientState>>> recipients(std::string_view queue_id);

  struct Row {
    std::string queue_id;
    std::optional<State> state;   // nullopt: damaged
  };
  // Up to `count` rows in the order of ids, after that one.
  Result<std::vector<Row>> rows_after(std::string_view queue_id, std::size_t count);
  Result<std::uint64_t> next_id();

  void close();
  std::uint64_t commits() const { return commits_; }

 private:
  Database() = default;
  class ReadTransaction;
  int apply(MDB_txn* txn, Operation& operation);
  int apply_add(MDB_txn* txn, Operation& operation);
  int apply_update(MDB_txn* txn, Operation& operation);
  int remove_recipients(MDB_txn* txn, const std::string& queue_id);
  int try_commit(std::span<Operation*> operations);
  bool grow();

  MDB_env* env_ = nullptr;
  MDB_dbi meta_ = 0, states_ = 0, messages_ = 0, recipients_ = 0;
  std::string directory_;
  std::size_t map_bytes_ = 0;
  std::uint64_t commits_ = 0;
  std::shared_mutex map_mutex_;   // shared: a read; exclusive: the map moves or goes
};

// Free bytes for us on the file system of that path; 0 when it cannot be told.
std::uint64_t free_bytes(const std::string& path);

}  // namespace millrace::queue
