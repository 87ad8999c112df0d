// Sends notices about messages: bounces, warnings of delay, reports of success, copies for the
// postmaster (bounce(8), RFC 3461 section 4.1 for who wants which).
//
// Promise: send() succeeds only when every notice that is due is stored durably, so that a failed
// recipient may then be struck off.  A notice is never answered with a notice: what cannot be delivered
// of one goes to the postmaster at most (notify_classes 2bounce), and of that nowhere.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/deliver/notice.h"
#include "core/queue/store.h"
#include "core/rewrite/router.h"

namespace millrace::deliver {

// internal_mail_filter_classes: looks at a notice before it is stored, and may edit it.  False: it is not to be sent.
// Errors: it cannot be sent now. [fiber]
using NoticeInspection = std::function<Result<bool>(queue::Entry& notice, std::string& content, bool to_postmaster)>;

struct PostmanRules {
  std::string host, mail_name;
  std::string double_bounce_sender;       // full address
  std::string bounce_to = "postmaster", double_bounce_to = "postmaster", delay_to = "postmaster";
  bool tell_bounces = false, tell_double_bounces = false, tell_delays = false;   // notify_classes
  std::uint64_t size_limit = 50000;       // bounce_size_limit: larger messages give their headers alone
  bool long_queue_ids = false;
  std::chrono::seconds delay_warning{0}, lifetime{0};
  log::Logger bounce_log, cleanup_log;
  NoticeInspection inspect;               // null: notices are not looked at
};

class Postman {
 public:
  using Stored = std::function<void(queue::Entry, std::shared_ptr<const std::string>)>;
  Postman(PostmanRules rules, queue::Store& store, const rewrite::Router& router, Stored stored);

  struct Story {
    const queue::Entry* entry = nullptr;
    const queue::Content* content = nullptr;
    std::vector<std::size_t> failed, delayed, succeeded;   // indexes; their RecipientState tells the rest
  };
  // Errors: of the store. [fiber]
  Result<void> send(const Story& story);

 private:
  Result<void> post(const Story& story, Notice::Kind kind, const std::vector<std::size_t>& recipients,
                    const std::string& to, bool to_postmaster);
  Result<std::string> original(const Story& story, bool headers_only) const;
  PostmanRules rules_;
  queue::Store& store_;
  const rewrite::Router& router_;
  Stored stored_;
};

}  // namespace millrace::deliver
