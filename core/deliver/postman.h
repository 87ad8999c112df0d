// Sends notices about messages: bounces, warnings of delay, reports of success and of what was asked with
// sendmail -v and -bv, copies for the postmaster (bounce(8), RFC 3461 section 4.1 for who wants which).
//
// Promise: send() succeeds only when every notice that is due is stored durably, so that a failed
// recipient may then be struck off.  A notice is never answered with a notice: what cannot be delivered
// of one goes to the postmaster at most (notify_classes 2bounce), and of that nowhere.  A notice's addresses
// are rewritten as those of any mail that is made here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/deliver/attempt.h"
#include "core/deliver/notice.h"
#include "core/queue/store.h"
#include "core/rewrite/cleanup.h"
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
  bool confirm_delay_cleared = false;
  bool verp = true;                       // disable_verp_bounces turned round: who has a sender of his own has a notice of his own
  bool threaded = false;                  // enable_threaded_bounces
  bool utf8_texts = true;                 // smtputf8_enable
  std::uint64_t size_limit = 50000;       // bounce_size_limit: larger messages give their headers alone
  bool long_queue_ids = false;
  std::chrono::seconds lifetime{0};       // maximal_queue_lifetime
  Templates templates;                    // expanded
  std::shared_ptr<const rewrite::Cleanup> cleanup;   // nullptr: addresses are completed, no table is asked
  log::Logger bounce_log, cleanup_log;
  NoticeInspection inspect;               // null: notices are not looked at
};

class Postman {
 public:
  using Stored = std::function<void(queue::Entry, std::shared_ptr<const std::string>)>;
  Postman(PostmanRules rules, queue::Store& store, const rewrite::Router& router, Stored stored);

  struct Report {
    std::size_t recipient = 0;   // index in the entry; its RecipientState tells the rest
    std::string relay;           // "mx.example[192.0.2.1]:25", "" is none
    bool next_hop_reports = false;   // of success, when NOTIFY asks for it
    const Outcome* outcome = nullptr;   // in traced: of this or of one whom the recipient stands for
  };
  struct Story {
    const queue::Entry* entry = nullptr;
    const queue::Content* content = nullptr;
    bool first_pass = false;                    // the first attempt of the message: aliases are told as expanded
    std::vector<std::size_t> failed, delayed;   // indexes
    std::vector<Report> succeeded;              // those that were delivered
    std::vector<Report> traced;                 // all, when the message asks for a trace
  };
  // Is there anything that somebody may want to be told?
  bool has_news(const Story& story) const;
  // Errors: of the store, of a table. [fiber]
  Result<void> send(const Story& story);

 private:
  struct Letter {
    Notice::Kind kind;
    std::string to;
    bool to_postmaster;
    bool whole = false;          // the message itself, unless RET or bounce_size_limit is against it
    std::vector<NoticeRecipient> recipients;
  };
  Result<void> tell_failed(const Story& story);
  Result<void> tell_each_failed(const Story& story);
  Result<void> tell_delayed(const Story& story);
  Result<void> tell_reported(const Story& story);
  Result<void> post(const Story& story, Letter letter);
  Result<std::string> original(const Story& story, bool headers_only) const;
  Result<queue::Entry> envelope(const Notice& notice, bool to_postmaster) const;
  Result<void> complete_headers(std::string& text) const;
  void trace_part(const mime::Envelope& about, const Outcome& outcome, NoticeRecipient& one) const;
  bool is_told(const queue::Entry& entry, const Report& report) const;
  const Template& form(Notice::Kind kind) const;
  std::vector<NoticeRecipient> describe(const queue::Entry& entry, const std::vector<std::size_t>& which) const;

  PostmanRules rules_;
  queue::Store& store_;
  const rewrite::Router& router_;
  Stored stored_;
};

}  // namespace millrace::deliver
