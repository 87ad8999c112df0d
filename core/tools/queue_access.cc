#include "core/tools/queue_access.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/strings.h"
#include "core/queue/paths.h"
#include "core/queue/control_client.h"

namespace millrace::tools {
namespace {

constexpr const char* kReserved = "use of this command is reserved for the superuser";

class Remote final : public QueueAccess {
 public:
  explicit Remote(queue::ControlClient client) : client_(std::move(client)) {}

  bool daemon_runs() const override { return true; }

  Result<void> list(const std::function<void(const queue::Listing&)>& each) override {
    std::vector<queue::Listing> listings;   // the one being put together
    const auto done = client_.request({"list"}, [&](const queue::Strings& item) {
      if (!listings.empty() && !item.empty() && item[0] == "message") {
        each(listings.back());
        listings.clear();
      }
      return queue::decode_listing(item, listings);
    });
    if (!done) return tl::unexpected(done.error());
    if (!listings.empty()) each(listings.back());
    return {};
  }

  Result<queue::Changed> change(queue::Change, std::string_view letter, const std::string& queue_id,
                                const std::vector<queue::QueueName>& queues) override {
    queue::Strings request{"change", std::string(letter), queue_id};
    for (const queue::QueueName name : queues) request.emplace_back(queue::queue_name(name));
    const auto done = client_.request(request, [](const queue::Strings&) { return false; });
    if (!done) return tl::unexpected(done.error());
    const auto number = [&](std::size_t i) {
      return i < done->size() ? parse_number<std::size_t>((*done)[i]).value_or(0) : 0;
    };
    return queue::Changed{number(0), number(1)};
  }

  Result<void> cat(const std::string& queue_id, const std::function<void(const queue::Entry&)>& entry,
                   const std::function<void(std::string_view)>& content) override {
    const auto done = client_.request({"cat", queue_id}, [&](const queue::Strings& item) {
      if (item.size() == 2 && item[0] == "content") {
        content(item[1]);
        return true;
      }
      const std::optional<queue::Entry> decoded = queue::decode_entry(item);
      if (decoded) entry(*decoded);
      return decoded.has_value();
    });
    return done ? Result<void>() : tl::unexpected(done.error());
  }

  Result<void> flush_all() override { return simple({"flush"}); }
  Result<void> flush(const std::string& queue_id) override { return simple({"flush", queue_id}); }
  Result<void> flush_site(const std::string& domain) override { return simple({"site", domain}); }

 private:
  Result<void> simple(const queue::Strings& request) {
    const auto done = client_.request(request, [](const queue::Strings&) { return false; });
    return done ? Result<void>() : tl::unexpected(done.error());
  }
  queue::ControlClient client_;
};

class Local final : public QueueAccess {
 public:
  explicit Local(std::unique_ptr<queue::Store> store) : store_(std::move(store)) {}   // nullptr: no queue yet

  bool daemon_runs() const override { return false; }

  Result<void> list(const std::function<void(const queue::Listing&)>& each) override {
    if (!store_) return {};
    return queue::list_queue(*store_, nullptr, [&](const queue::Listing& listing) {
      each(listing);
      return true;
    });
  }

  Result<queue::Changed> change(queue::Change change, std::string_view, const std::string& queue_id,
                                const std::vector<queue::QueueName>& queues) override {
    if (!store_) return queue::Changed{};
    return queue::change_queue(*store_, nullptr, change, queue_id,
                               queues.empty() ? queue::default_queues(change) : queues);
  }

  Result<void> cat(const std::string& queue_id, const std::function<void(const queue::Entry&)>& entry,
                   const std::function<void(std::string_view)>& content) override {
    if (!store_) return fail(Errc::not_found, queue_id);
    const Result<queue::Entry> loaded = store_->load(queue_id);
    if (!loaded) return tl::unexpected(loaded.error());
    entry(*loaded);
    const Result<queue::Content> opened = store_->open_content(queue_id);
    if (!opened) return tl::unexpected(opened.error());
    std::string piece(64 * 1024, '\0');
    for (std::uint64_t at = 0;;) {
      const Result<std::size_t> got = opened->read_at(at, piece);
      if (!got) return tl::unexpected(got.error());
      if (*got == 0) return {};
      content(std::string_view(piece).substr(0, *got));
      at += *got;
    }
  }

  Result<void> flush_all() override { return down(); }
  Result<void> flush(const std::string&) override { return down(); }
  Result<void> flush_site(const std::string&) override { return down(); }

 private:
  static Result<void> down() { return fail(Errc::closed, "mail system is down"); }
  std::unique_ptr<queue::Store> store_;
};

Result<void> become_owner(const struct stat& status) {
  if (::geteuid() == status.st_uid) return {};
  if (::geteuid() != 0) return fail(Errc::refused, kReserved);
  if (::setgroups(0, nullptr) != 0 || ::setgid(status.st_gid) != 0 || ::setuid(status.st_uid) != 0) {
    return fail(Errc::io, std::string("become the owner of the queue: ") + std::strerror(errno));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<QueueAccess>> QueueAccess::open(const std::string& queue_directory) {
  Result<queue::ControlClient> client = queue::ControlClient::connect(queue::control_socket_path(queue_directory));
  if (client) return std::make_unique<Remote>(std::move(*client));
  if (client.error().code != Errc::refused) return tl::unexpected(client.error());
  const std::string directory = queue::store_directory(queue_directory);
  struct stat status {};
  if (::stat((directory + "/queue.mdb").c_str(), &status) != 0) {
    if (errno == ENOENT) return std::make_unique<Local>(nullptr);
    if (errno == EACCES) return fail(Errc::refused, kReserved);
    return fail(Errc::io, directory + ": " + std::strerror(errno));
  }
  if (Result<void> became = become_owner(status); !became) return tl::unexpected(became.error());
  queue::StoreOptions options;
  options.directory = directory;
  options.recover = false;
  Result<std::unique_ptr<queue::Store>> store = queue::Store::open(options);
  if (!store) return tl::unexpected(store.error());
  return std::make_unique<Local>(std::move(*store));
}

}  // namespace millrace::tools
