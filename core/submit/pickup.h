// pickup(8): takes the messages of local users out of the maildrop directory, through cleanup's work (rewriting,
// header and body checks, milters), into the queue.
//
// Promise: a file goes away only after its message is durable in the queue, or when it can never become one;
// a crash in between repeats a message and loses none.  Whatever is in the directory (links, directories, files
// half written, files of a user who may not submit) is survived and harms no other message.  One file at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/filter/verdict.h"
#include "core/map/table.h"
#include "core/mime/builder.h"
#include "core/mime/cleanup.h"
#include "core/net/fiber.h"
#include "core/rewrite/cleanup.h"
#include "core/rewrite/router.h"
#include "core/smtp/sink.h"
#include "core/submit/maildrop.h"
#include "core/submit/users.h"

namespace millrace::submit {

// What is not owned must outlive the Pickup.
struct PickupParts {
  std::shared_ptr<const config::Config> config;
  const config::Service* service = nullptr;   // the master.cf entry
  map::TableSet* tables = nullptr;
  std::shared_ptr<const rewrite::Router> router;
  smtp::MessageSink* sink = nullptr;
};

// Below queue_directory.
std::string maildrop_directory(const std::string& queue_directory);
std::string pickup_socket_path(const std::string& queue_directory);

class Pickup {
 public:
  // Start-up errors go to `findings`; nullptr after one.
  static std::unique_ptr<Pickup> make(const PickupParts& parts, config::Findings& findings);

  // What filters say of a message; they may edit it and its envelope.  Unset: nothing. [fiber]
  using Inspect = std::function<filter::Verdict(mime::Envelope&, mime::Message&)>;
  void use(Inspect inspect) { inspect_ = std::move(inspect); }
  // Looks through the directory at once, every wake-up interval of the service, and when woken.  Ends when
  // stop() was called, after the file it is at. [fiber]
  void run();
  void wake() { woken_.set(); }   // [loop]
  void stop() {
    stopping_ = true;
    woken_.set();
  }
  bool running() const { return running_; }
  // One pass over the directory; public for tests. [fiber]
  void scan();

 private:
  explicit Pickup(const PickupParts& parts);
  struct File;
  enum class Outcome { taken, gone, keep };

  Outcome take(int directory, const std::string& name);
  Result<void> read(const File& file, MaildropParser& parser) const;
  Outcome accept(const File& file, const Submission& submission, mime::Message message);
  Outcome judge(mime::Envelope& envelope, mime::Message& message, std::string& refusal);
  mime::Header received(const File& file, const mime::Envelope& envelope) const;
  Result<std::string> from_field(const Submission& submission, const std::string& sender) const;

  PickupParts parts_;
  std::shared_ptr<const config::Params> params_;
  log::Logger log_, cleanup_log_;
  std::shared_ptr<const rewrite::Cleanup> rewriting_;
  UserList submit_users_;
  mime::HeaderPolicy header_policy_;
  mime::BuilderLimits builder_limits_;
  mime::CharacterSet strip_characters_, reject_characters_;
  bool address_mappings_ = true, detect_smtputf8_ = false;
  Inspect inspect_;
  net::Event woken_;
  bool stopping_ = false, running_ = false;
};

}  // namespace millrace::submit
