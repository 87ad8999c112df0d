#include "core/queue/database.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/queue/bytes.h"
#include "core/queue/checksum.h"

namespace millrace::queue {
namespace {

constexpr std::size_t kLargeStep = std::size_t{16} << 30;  // the map doubles up to this, then grows by it
constexpr char kNextId[] = "next_id";

MDB_val value_of(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
std::string_view view_of(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

Error lmdb_error(const char* what, int code) {
  return {Errc::io, std::string("queue database: ") + what + ": " + ::mdb_strerror(code)};
}

// LMDB reports a short write, which is what a disk that just became full gives, as EIO.  With plenty of
// space it is a real one.
bool means_no_space(int code, const std::string& directory) {
  constexpr std::uint64_t kLittle = 16 << 20;
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) return true;
  return code == EIO && free_bytes(directory) < kLittle;
}

}  // namespace

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) return 0;
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

class Database::ReadTransaction {
 public:
  explicit ReadTransaction(Database& database) : lock_(database.map_mutex_) {
    if (database.env_ == nullptr) return;
    code_ = ::mdb_txn_begin(database.env_, nullptr, MDB_RDONLY, &txn_);
  }
  ~ReadTransaction() {
    if (txn_ != nullptr) ::mdb_txn_abort(txn_);
  }
  ReadTransaction(const ReadTransaction&) = delete;
  MDB_txn* get() const { return txn_; }
  bool ok() const { return txn_ != nullptr; }
  tl::unexpected<Error> error() const {
    if (code_ == 0) return fail(Errc::io, "queue database: closed after a failure");
    return tl::unexpected(lmdb_error("read", code_));
  }

 private:
  std::shared_lock<std::shared_mutex> lock_;
  MDB_txn* txn_ = nullptr;
  int code_ = 0;
};

Result<std::unique_ptr<Database>> Database::open(const std::string& path, std::size_t map_bytes, bool sync) {
  std::unique_ptr<Database> self(new Database);
  self->directory_ = path.substr(0, path.rfind('/') + 1);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    map_bytes = std::max(map_bytes, static_cast<std::size_t>(status.st_size) * 5 / 4);
  }
  self->map_bytes_ = (map_bytes + 65535) / 65536 * 65536;
  int code = ::mdb_env_create(&self->env_);
  if (code == 0) code = ::mdb_env_set_maxdbs(self->env_, 8);
  if (code == 0) code = ::mdb_env_set_mapsize(self->env_, self->map_bytes_);
  const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (sync ? 0u : unsigned{MDB_NOSYNC});
  if (code == 0) code = ::mdb_env_open(self->env_, path.c_str(), flags, 0600);
  if (code != 0) return tl::unexpected(lmdb_error(("open " + path).c_str(), code));
  MDB_txn* txn = nullptr;
  code = ::mdb_txn_begin(self->env_, nullptr, 0, &txn);
  if (code == 0) {
    code = ::mdb_dbi_open(txn, "meta", MDB_CREATE, &self->meta_);
    if (code == 0) code = ::mdb_dbi_open(txn, "state", MDB_CREATE, &self->states_);
    if (code == 0) code = ::mdb_dbi_open(txn, "message", MDB_CREATE, &self->messages_);
    if (code == 0) code = ::mdb_dbi_open(txn, "recipient", MDB_CREATE, &self->recipients_);
    if (code == 0) {
      code = ::mdb_txn_commit(txn);
    } else {
      ::mdb_txn_abort(txn);
    }
  }
  if (code != 0) {
    Error error = lmdb_error(("open " + path).c_str(), code);
    if (means_no_space(code, self->directory_)) error.code = Errc::no_space;
    return tl::unexpected(error);
  }
  return self;
}

Database::~Database() { close(); }

void Database::close() {
  const std::unique_lock lock(map_mutex_);
  if (env_ != nullptr) ::mdb_env_close(env_);
  env_ = nullptr;
}

bool Database::grow() {
  const std::unique_lock lock(map_mutex_);
  const std::size_t bytes = map_bytes_ + std::min(map_bytes_, kLargeStep);
  if (::mdb_env_set_mapsize(env_, bytes) != 0) return false;
  map_bytes_ = bytes;
  return true;
}

Database::Outcome Database::commit(std::span<Operation*> operations, Error& why) {
  int code = MDB_PANIC;
  if (env_ != nullptr) {
    do {
      code = try_commit(operations);
    } while ((code == MDB_MAP_FULL || code == MDB_MAP_RESIZED) && grow());
    if (code == 0) {
      ++commits_;
      return Outcome::done;
    }
  }
  why = lmdb_error("commit", code);
  if (means_no_space(code, directory_)) {
    why.code = Errc::no_space;
    return Outcome::no_space;
  }
  // After a failed sync the kernel may have dropped what it could not write: a second sync would lie.
  close();
  return Outcome::failed;
}

int Database::try_commit(std::span<Operation*> operations) {
  MDB_txn* txn = nullptr;
  if (const int code = ::mdb_txn_begin(env_, nullptr, 0, &txn); code != 0) return code;
  for (Operation* operation : operations) {
    operation->result = {};
    operation->removed_side_file = false;
    if (const int code = apply(txn, *operation); code != 0) {
      ::mdb_txn_abort(txn);
      return code;
    }
  }
  return ::mdb_txn_commit(txn);
}

int Database::apply(MDB_txn* txn, Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::add: return apply_add(txn, operation);
    case Operation::Kind::update: return apply_update(txn, operation);
    case Operation::Kind::next_id: {
      std::string bytes;
      put_u64(bytes, operation.next_id);
      MDB_val key = value_of(kNextId), data = value_of(bytes), before{};
      if (::mdb_get(txn, meta_, &key, &before) == 0 && ByteReader(view_of(before)).u64() >= operation.next_id) {
        return 0;
      }
      return ::mdb_put(txn, meta_, &key, &data, 0);
    }
  }
  return EINVAL;
}

int Database::apply_add(MDB_txn* txn, Operation& operation) {
  MDB_val key = value_of(operation.queue_id), data = value_of(operation.state);
  int code = ::mdb_put(txn, states_, &key, &data, MDB_NOOVERWRITE);
  if (code == MDB_KEYEXIST) {
    operation.result = fail(Errc::exists, operation.queue_id + ": queue id is in use");
    return 0;
  }
  if (code != 0) return code;
  const std::string_view content = *operation.content;
  if (!operation.side_file) {
    operation.content_size = content.size();
    operation.content_crc = crc32c(content);
  }
  std::string head;
  encode_message_header(
      {operation.side_file, static_cast<std::uint32_t>(operation.envelope.size()),
       static_cast<std::uint32_t>(content.size()), operation.content_size, crc32c(operation.envelope),
       operation.content_crc},
      head);
  data = {head.size() + operation.envelope.size() + content.size(), nullptr};
  code = ::mdb_put(txn, messages_, &key, &data, MDB_RESERVE);
  if (code != 0) return code;
  char* to = static_cast<char*>(data.mv_data);
  std::memcpy(to, head.data(), head.size());
  std::memcpy(to + head.size(), operation.envelope.data(), operation.envelope.size());
  if (!content.empty()) std::memcpy(to + head.size() + operation.envelope.size(), content.data(), content.size());
  return 0;
}

int Database::remove_recipients(MDB_txn* txn, const std::string& queue_id) {
  MDB_cursor* cursor = nullptr;
  if (const int code = ::mdb_cursor_open(txn, recipients_, &cursor); code != 0) return code;
  const std::string first = recipient_key(queue_id, 0);
  MDB_val key = value_of(first), data{};
  int code = ::mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
  while (code == 0 && recipient_index(view_of(key), queue_id)) {
    code = ::mdb_cursor_del(cursor, 0);
    if (code == 0) code = ::mdb_cursor_get(cursor, &key, &data, MDB_GET_CURRENT);
    // After the last key of the database there is no current one.
    if (code == EINVAL) code = MDB_NOTFOUND;
  }
  ::mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? 0 : code;
}

int Database::apply_update(MDB_txn* txn, Operation& operation) {
  const Update& update = operation.update;
  MDB_val key = value_of(operation.queue_id), data{};
  int code = ::mdb_get(txn, states_, &key, &data);
  if (code == MDB_NOTFOUND) {
    operation.result = fail(Errc::not_found, operation.queue_id + ": no such message");
    return 0;
  }
  if (code != 0) return code;
  std::optional<State> state = decode_state(view_of(data));
  if (update.remove) {
    operation.removed_side_file = !state || state->side_file;
    if (!state || state->recipient_records) {
      if (code = remove_recipients(txn, operation.queue_id); code != 0) return code;
    }
    code = ::mdb_del(txn, messages_, &key, nullptr);
    if (code != 0 && code != MDB_NOTFOUND) return code;
    return ::mdb_del(txn, states_, &key, nullptr);
  }
  if (!state && operation.force) state.emplace().side_file = true;
  if (!state) {
    operation.result = fail(Errc::protocol, operation.queue_id + ": damaged state record");
    return 0;
  }
  if (update.queue) state->queue = *update.queue;
  if (update.next_attempt) state->next_attempt = *update.next_attempt;
  if (update.attempts) state->attempts = *update.attempts;
  if (update.delay_warned) state->delay_warned = *update.delay_warned;
  if (update.forced_expire) state->forced_expire = *update.forced_expire;
  if (operation.deaths) state->deaths = *operation.deaths;
  std::string bytes;
  for (const auto& [index, recipient] : update.recipients) {
    const std::string name = recipient_key(operation.queue_id, static_cast<std::uint32_t>(index));
    bytes.clear();
    encode_recipient(recipient, bytes);
    MDB_val recipient_name = value_of(name), outcome = value_of(bytes);
    if (code = ::mdb_put(txn, recipients_, &recipient_name, &outcome, 0); code != 0) return code;
    state->recipient_records = true;
  }
  bytes.clear();
  encode_state(*state, bytes);
  data = value_of(bytes);
  return ::mdb_put(txn, states_, &key, &data, 0);
}

Result<std::optional<State>> Database::state(std::string_view queue_id) {
  const ReadTransaction txn(*this);
  if (!txn.ok()) return txn.error();
  MDB_val key = value_of(queue_id), data{};
  const int code = ::mdb_get(txn.get(), states_, &key, &data);
  if (code == MDB_NOTFOUND) return std::nullopt;
  if (code != 0) return tl::unexpected(lmdb_error("read state", code));
  std::optional<State> state = decode_state(view_of(data));
  if (!state) return fail(Errc::protocol, std::string(queue_id) + ": damaged state record");
  return state;
}

Result<Database::Message> Database::message(std::string_view queue_id, bool with_content) {
  const ReadTransaction txn(*this);
  if (!txn.ok()) return txn.error();
  MDB_val key = value_of(queue_id), data{};
  const int code = ::mdb_get(txn.get(), messages_, &key, &data);
  if (code == MDB_NOTFOUND) return fail(Errc::not_found, std::string(queue_id) + ": no such message");
  if (code != 0) return tl::unexpected(lmdb_error("read message", code));
  const std::string_view record = view_of(data);
  const std::optional<MessageHeader> header = decode_message_header(record);
  if (!header) return fail(Errc::protocol, std::string(queue_id) + ": damaged message record");
  Message out;
  out.header = *header;
  const std::string_view envelope = record.substr(MessageHeader::kSize, header->envelope_size);
  if (crc32c(envelope) != header->envelope_crc) {
    return fail(Errc::protocol, std::string(queue_id) + ": envelope does not match its checksum");
  }
  out.envelope = std::string(envelope);
  if (with_content) out.content = std::string(record.substr(MessageHeader::kSize + header->envelope_size));
  return out;
}

Result<std::vector<std::pair<std::uint32_t, RecipientState>>> Database::recipients(std::string_view queue_id) {
  const ReadTransaction txn(*this);
  if (!txn.ok()) return txn.error();
  std::vector<std::pair<std::uint32_t, RecipientState>> out;
  MDB_cursor* cursor = nullptr;
  int code = ::mdb_cursor_open(txn.get(), recipients_, &cursor);
  if (code != 0) return tl::unexpected(lmdb_error("read recipients", code));
  const std::string first = recipient_key(queue_id, 0);
  MDB_val key = value_of(first), data{};
  bool damaged = false;
  code = ::mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
  for (; code == 0 && !damaged; code = ::mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
    const std::optional<std::uint32_t> index = recipient_index(view_of(key), queue_id);
    if (!index) break;
    damaged = !decode_recipient(view_of(data), out.emplace_back(*index, RecipientState{}).second);
  }
  ::mdb_cursor_close(cursor);
  if (damaged) return fail(Errc::protocol, std::string(queue_id) + ": damaged recipient record");
  if (code != 0 && code != MDB_NOTFOUND) return tl::unexpected(lmdb_error("read recipients", code));
  return out;
}

Result<std::vector<Database::Row>> Database::rows_after(std::string_view queue_id, std::size_t count) {
  const ReadTransaction txn(*this);
  if (!txn.ok()) return txn.error();
  std::vector<Row> out;
  MDB_cursor* cursor = nullptr;
  int code = ::mdb_cursor_open(txn.get(), states_, &cursor);
  if (code != 0) return tl::unexpected(lmdb_error("list", code));
  MDB_val key = value_of(queue_id), data{};
  code = ::mdb_cursor_get(cursor, &key, &data, queue_id.empty() ? MDB_FIRST : MDB_SET_RANGE);
  if (code == 0 && view_of(key) == queue_id) code = ::mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
  for (; code == 0 && out.size() < count; code = ::mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
    out.push_back({std::string(view_of(key)), decode_state(view_of(data))});
  }
  ::mdb_cursor_close(cursor);
  if (code != 0 && code != MDB_NOTFOUND) return tl::unexpected(lmdb_error("list", code));
  return out;
}

Result<std::uint64_t> Database::next_id() {
  const ReadTransaction txn(*this);
  if (!txn.ok()) return txn.error();
  MDB_val key = value_of(kNextId), data{};
  const int code = ::mdb_get(txn.get(), meta_, &key, &data);
  if (code == MDB_NOTFOUND) return std::uint64_t{0};
  if (code != 0) return tl::unexpected(lmdb_error("read counter", code));
  return ByteReader(view_of(data)).u64();
}

}  // namespace millrace::queue
