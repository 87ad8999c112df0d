// A file of the maildrop directory as values: who sends what to whom, as sendmail(1) and postdrop(1) wrote it.
//
// Promise: pure and bounded; whatever a user managed to put there gives either a whole submission or "no".  The
// content comes out in pieces, canonical: CRLF at line ends and no other CR or LF.  Does not judge addresses.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/mime/envelope.h"
#include "core/submit/record.h"

namespace millrace::submit {

struct Submission {
  std::string sender;      // internal form, not rewritten; "" is the null reverse-path
  std::string full_name;   // for a From field that is to be made
  std::vector<mime::Recipient> recipients;   // `address` as given; no `original`
  std::string envid;       // xtext
  mime::Ret ret = mime::Ret::unset;
  mime::BodyType body = mime::BodyType::unset;
  mime::Trace trace = mime::Trace::none;
  std::string verp;        // the delimiters as given; not judged here
  bool gateway = false;    // sendmail -G: not a message of our own users
};

class MaildropParser {
 public:
  // Takes canonical content; an error ends the parsing.
  using Content = std::function<Result<void>(std::string_view)>;

  MaildropParser(std::size_t recipient_limit, Content content);

  // Bytes of the file in pieces of any size.  Errors: protocol (not a maildrop file), too_large (too many
  // recipients), and those of `content`.
  Result<void> add(std::string_view bytes);
  // The whole file was there.  Errors: protocol.
  Result<void> finish() const;
  const Submission& submission() const { return submission_; }

 private:
  Result<void> take(const Record& record);
  Result<void> attribute(std::string_view text);
  Result<void> recipient(std::string_view address);
  Result<void> line(std::string_view text, bool ends);

  const std::size_t recipient_limit_;
  Content content_;
  RecordOrder order_;
  Submission submission_;
  mime::Recipient next_;     // NOTIFY and ORCPT come before their recipient
  std::string buffer_, out_;
};

// The attributes as text: what sendmail writes.  "notify_flags=10".
std::vector<std::string> envelope_attributes(const Submission& submission);
std::vector<std::string> recipient_attributes(const mime::Recipient& recipient);

}  // namespace millrace::submit
