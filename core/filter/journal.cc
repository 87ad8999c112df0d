// Applying a filter's edits to the message and the envelope: see chain.h.
//
// Headers and recipients are edited in copies that take the place of the originals at the end, so that an
// edit that cannot be applied leaves nothing half done.
#include <algorithm>
#include <optional>

#include "core/base/strings.h"
#include "core/filter/chain.h"

namespace millrace::filter {

namespace {

using mime::Header;

std::string_view bare(std::string_view address) {
  address = trim(address);
  if (address.size() >= 2 && address.front() == '<' && address.back() == '>') {
    address = address.substr(1, address.size() - 2);
  }
  return address;
}

// Blanks are let pass where milters write them, as Postfix does: a field whose name begins with one reads as
// part of the field above it.  Nothing here can end a field or the section.
bool is_field_name(std::string_view name) {
  return !trim(name).empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c < 127 && c != ':'; });
}

Header make_header(const Edit& edit) {
  if (!edit.keep_space) return Header::make(edit.name, edit.value);
  // The value brings its own white space: made as usual, then without the space that make() adds.
  std::string text = Header::make(edit.name, edit.value).text();
  text.erase(edit.name.size() + 1, 1);
  return Header(std::move(text), edit.name.size());
}

unsigned notify_bits(std::string_view text) {
  unsigned bits = 0;
  for (const std::string_view word : split(text, ",")) {
    if (iequals(word, "never")) bits |= mime::kNotifyNever;
    if (iequals(word, "success")) bits |= mime::kNotifySuccess;
    if (iequals(word, "failure")) bits |= mime::kNotifyFailure;
    if (iequals(word, "delay")) bits |= mime::kNotifyDelay;
  }
  return bits;
}

// RFC 3461 section 4.2: a type, a semicolon, xtext.
bool is_orcpt(std::string_view text) {
  const std::size_t semicolon = text.find(';');
  return semicolon != 0 && semicolon != text.npos && semicolon + 1 < text.size();
}

struct Draft {
  std::optional<std::vector<Header>> headers;
  std::optional<std::vector<mime::Recipient>> recipients;
  std::optional<std::string> sender, envid;
  mime::Ret ret = mime::Ret::unset;
};

std::vector<Header>::iterator nth(std::vector<Header>& headers, std::string_view name, std::size_t n) {
  n = std::max<std::size_t>(n, 1);
  return std::find_if(headers.begin(), headers.end(),
                      [&](const Header& h) { return !h.own_received && iequals(h.name(), name) && --n == 0; });
}

void edit_headers(const Edit& edit, std::vector<Header>& headers) {
  using Kind = Edit::Kind;
  switch (edit.kind) {
    case Kind::add_header: headers.push_back(make_header(edit)); return;
    case Kind::insert_header: {
      const auto at = static_cast<std::ptrdiff_t>(std::min(edit.index, headers.size()));
      headers.insert(headers.begin() + at, make_header(edit));
      return;
    }
    case Kind::prepend_header: {
      auto at = std::find_if(headers.begin(), headers.end(), [](const Header& h) { return h.own_received; });
      if (at == headers.end()) at = headers.begin();
      headers.insert(at, make_header(edit));
      return;
    }
    default: break;
  }
  const auto found = nth(headers, edit.name, edit.index);
  if (edit.kind == Kind::delete_header || edit.value.empty()) {
    if (found != headers.end()) headers.erase(found);
  } else if (found == headers.end()) {
    headers.push_back(make_header(edit));
  } else {
    *found = make_header(edit);
  }
}

void edit_sender(const Edit& edit, Draft& draft) {
  draft.sender = bare(edit.name);
  for (const std::string_view parameter : split(edit.value, " \t")) {
    const std::size_t equal = parameter.find('=');
    if (equal == std::string_view::npos) continue;
    const std::string_view name = parameter.substr(0, equal), value = parameter.substr(equal + 1);
    if (iequals(name, "ENVID")) draft.envid = value;
    if (iequals(name, "RET") && iequals(value, "hdrs")) draft.ret = mime::Ret::headers;
    if (iequals(name, "RET") && iequals(value, "full")) draft.ret = mime::Ret::full;
  }
}

void edit_recipients(const Edit& edit, std::vector<mime::Recipient>& recipients) {
  const std::string_view address = bare(edit.name);
  if (edit.kind == Edit::Kind::delete_recipient) {
    // Postfix compares them octet by octet with what the client gave.
    std::erase_if(recipients, [&](const mime::Recipient& r) { return (r.original.empty() ? r.address : r.original) == address; });
    return;
  }
  mime::Recipient fresh;
  fresh.address = address;   // the original is what rewriting makes of it, before aliases
  for (const std::string_view parameter : split(edit.value, " \t")) {
    if (istarts_with(parameter, "NOTIFY=")) fresh.notify = notify_bits(parameter.substr(7));
    if (istarts_with(parameter, "ORCPT=") && is_orcpt(parameter.substr(6))) fresh.orcpt = parameter.substr(6);
  }
  // One that the client named, too, has an ORCPT: then there are two, as in Postfix.
  for (const mime::Recipient& r : recipients) {
    if (r.address == fresh.address && r.orcpt == fresh.orcpt && r.notify == fresh.notify) return;
  }
  recipients.push_back(std::move(fresh));
}

std::string describe(const Edit& edit) {
  using Kind = Edit::Kind;
  const std::string index = std::to_string(edit.index);
  switch (edit.kind) {
    case Kind::add_header: return "add header " + edit.name + ": " + edit.value;
    case Kind::insert_header: return "insert header [" + index + "] " + edit.name + ": " + edit.value;
    case Kind::change_header: return "change header " + edit.name + "[" + index + "]: " + edit.value;
    case Kind::delete_header: return "delete header " + edit.name + "[" + index + "]";
    case Kind::prepend_header: return "prepend header " + edit.name + ": " + edit.value;
    case Kind::add_recipient: return "add recipient " + edit.name;
    case Kind::delete_recipient: return "delete recipient " + edit.name;
    case Kind::change_sender: return "change sender to " + edit.name;
    case Kind::replace_body: break;
  }
  return "replace body";
}

Result<void> apply_one(const Edit& edit, Draft& draft, const mime::Envelope& envelope, const mime::Message& message) {
  using Kind = Edit::Kind;
  switch (edit.kind) {
    case Kind::add_header:
    case Kind::insert_header:
    case Kind::change_header:
    case Kind::delete_header:
    case Kind::prepend_header:
      if (!is_field_name(edit.name)) return fail(Errc::protocol, "bad header name \"" + printable(edit.name) + "\"");
      if (!draft.headers) draft.headers = message.headers;
      if (edit.name.front() == ' ' && (draft.headers->empty() || (edit.kind == Kind::insert_header && edit.index == 0))) {
        return fail(Errc::protocol, "header name \"" + printable(edit.name) + "\" with nothing above it");
      }
      edit_headers(edit, *draft.headers);
      return {};
    case Kind::add_recipient:
    case Kind::delete_recipient:
      if (bare(edit.name).empty()) return fail(Errc::protocol, "empty recipient address");
      if (!draft.recipients) draft.recipients = envelope.recipients;
      edit_recipients(edit, *draft.recipients);
      return {};
    case Kind::change_sender: edit_sender(edit, draft); return {};
    case Kind::replace_body: return {};  // the bytes are the journal's body
  }
  return {};
}

}  // namespace

Result<void> Journal::append_body(std::string_view bytes) {
  if (!body_) body_.emplace(spool_directory);
  return body_->append(bytes);
}

std::vector<std::string> describe_edits(Journal& journal) {
  std::vector<std::string> lines;
  for (const std::string& note : journal.notes()) lines.push_back(printable(note));
  for (const Edit& edit : journal.edits()) {
    if (edit.kind != Edit::Kind::replace_body) lines.push_back(printable(describe(edit)));
  }
  if (journal.content_filter) lines.push_back("content filter " + printable(*journal.content_filter));
  if (journal.redirect) lines.push_back("redirect to " + printable(*journal.redirect));
  if (journal.body()) lines.push_back("replace body, " + std::to_string(journal.body()->size()) + " bytes");
  return lines;
}

bool adds_signature(const Journal& journal) {
  return std::any_of(journal.edits().begin(), journal.edits().end(), [](const Edit& edit) {
    const bool adds = edit.kind == Edit::Kind::add_header || edit.kind == Edit::Kind::insert_header || edit.kind == Edit::Kind::prepend_header;
    return adds && iequals(edit.name, "DKIM-Signature");
  });
}

bool breaks_signature(Journal& journal) {
  static constexpr std::string_view kTrace[] = {"Authentication-Results", "Received", "Received-SPF", "Return-Path", "DKIM-Signature"};
  if (journal.body() || journal.headers()) return true;
  return std::any_of(journal.edits().begin(), journal.edits().end(), [](const Edit& edit) {
    if (edit.kind == Edit::Kind::replace_body) return true;
    if (edit.kind != Edit::Kind::change_header && edit.kind != Edit::Kind::delete_header) return false;
    const bool unsigned_field = edit.name.size() > 2 && iequals(std::string_view(edit.name).substr(0, 2), "X-");
    return !unsigned_field && std::none_of(std::begin(kTrace), std::end(kTrace), [&](std::string_view name) { return iequals(edit.name, name); });
  });
}

Result<void> apply(Journal& journal, mime::Envelope& envelope, mime::Message& message, std::vector<std::string>* log) {
  Draft draft;
  if (journal.headers()) draft.headers = std::move(*journal.headers());
  for (const Edit& edit : journal.edits()) {
    if (auto done = apply_one(edit, draft, envelope, message); !done) return done;
  }
  if (log != nullptr) {
    for (std::string& line : describe_edits(journal)) log->push_back(std::move(line));
  }
  if (draft.headers) message.headers = std::move(*draft.headers);
  if (draft.recipients) envelope.recipients = std::move(*draft.recipients);
  if (draft.sender) envelope.sender = std::move(*draft.sender);
  if (draft.envid) envelope.envid = std::move(*draft.envid);
  if (draft.ret != mime::Ret::unset) envelope.ret = draft.ret;
  if (journal.body()) message.body = std::move(*journal.body());
  if (journal.content_filter) envelope.content_filter = std::move(*journal.content_filter);
  if (journal.redirect) envelope.redirect = std::move(*journal.redirect);
  journal.clear();
  return {};
}

}  // namespace millrace::filter
