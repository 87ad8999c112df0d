// See builder.h.
#include "core/mime/builder.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::mime {

std::size_t header_name_length(std::string_view line) {
  std::size_t length = 0;
  while (length < line.size() && line[length] > ' ' && line[length] < 0x7F && line[length] != ':') ++length;
  std::size_t colon = length;
  while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t')) ++colon;
  return colon < line.size() && line[colon] == ':' ? length : 0;
}

MessageBuilder::MessageBuilder(const BuilderLimits& limits, Body body) : limits_(limits) {
  message_.body = std::move(body);
}

Result<void> MessageBuilder::fault(Error error) {
  failed_ = true;
  error_ = std::move(error);
  std::string().swap(record_);
  std::string().swap(field_);
  std::string().swap(pending_);
  return tl::unexpected(error_);
}

Result<void> MessageBuilder::add(std::string_view text) {
  if (failed_) return tl::unexpected(error_);
  if (text.empty()) return {};
  size_ += text.size();
  ends_in_lf_ = text.back() == '\n';
  while (!in_body_ && !text.empty()) {
    // One piece: up to the line end or the line length limit, whichever comes first.  One octet more is
    // collected, since it may be the CR of the line end.
    const std::size_t end = text.find('\n');
    const std::size_t taken = std::min(std::min(end, text.size()), limits_.line_length + 1 - record_.size());
    record_.append(text.substr(0, taken));
    text.remove_prefix(taken);
    if (taken == end) {
      text.remove_prefix(1);
      if (!record_.empty() && record_.back() == '\r') record_.pop_back();
      record(true);
    } else if (record_.size() > limits_.line_length &&
               (record_.back() != '\r' || (!text.empty() && text.front() != '\n'))) {
      const char extra = record_.back();
      record_.pop_back();
      record(false);
      if (in_body_) {
        pending_ += extra;
      } else {
        record_ += extra;
      }
    }
    if (section_ > limits_.header_section) return fault({Errc::too_large, "header section too large"});
  }
  if (!in_body_) return {};
  if (!pending_.empty()) {
    if (Result<void> done = body(std::exchange(pending_, {})); !done) return done;
  }
  return text.empty() ? Result<void>() : body(text);
}

Result<void> MessageBuilder::body(std::string_view text) {
  Result<void> done = message_.body.append(text);
  if (!done) return fault(done.error());
  return done;
}

void MessageBuilder::record(bool line_end) {
  const bool goes_on = std::exchange(continued_, !line_end);
  const std::string piece = std::exchange(record_, {});
  const bool folded = !piece.empty() && (piece.front() == ' ' || piece.front() == '\t');
  if (!field_.empty() && (goes_on || folded)) {
    // As Postfix counts: a line end is one octet.
    const std::size_t used = field_.size() - folds_;
    if (used < limits_.header_size) {
      if (!goes_on) {
        field_ += "\r\n";
        ++folds_;
      }
      field_ += piece;   // whole lines, as long as the limit is not reached before them
      section_ += piece.size() + 2;
    }
    return;
  }
  end_field();
  // A mailbox's "From " line at the top is kept as a header, as Postfix's smtpd does.
  if (first_) {
    const std::size_t start = std::min(piece.find_first_not_of('>'), piece.size());
    if (istarts_with(std::string_view(piece).substr(start), "From ")) {
      field_ = "X-Mailbox-Line: " + piece;
      name_length_ = 14;
      section_ += field_.size() + 2;
      return;
    }
    first_ = false;
  }
  name_length_ = header_name_length(piece);
  if (name_length_ > 0) {
    const std::size_t colon = piece.find(':', name_length_);
    field_ = piece.substr(0, name_length_) + piece.substr(colon);
    section_ += field_.size() + 2;
    return;
  }
  in_body_ = true;
  if (piece.empty() && line_end) return;
  pending_ = piece;
  if (line_end) pending_ += "\r\n";
}

void MessageBuilder::end_field() {
  if (field_.empty()) return;
  message_.headers.emplace_back(std::exchange(field_, {}), name_length_);
  folds_ = 0;
}

Result<void> MessageBuilder::finish() {
  if (failed_) return tl::unexpected(error_);
  if (!ends_in_lf_) {
    if (Result<void> done = add("\r\n"); !done) return done;
  }
  end_field();
  return {};
}

}  // namespace millrace::mime
