// "mr.msg/1": the envelope, headers and body as a plugin reads and edits them.
#include <algorithm>

#include "core/base/strings.h"
#include "core/plugin/call.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {
namespace {

using filter::Edit;

constexpr std::size_t kMaxEditText = 1 << 20;
constexpr std::size_t kMaxEdits = 10000;
constexpr std::size_t kMaxEarlyFields = 20;
constexpr std::uint32_t kTransactionStages = MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_DATA;

// A call, found and locked; errors in rc.
struct View {
  View(void* ctx, mr_handle handle) : instance(*static_cast<Instance*>(ctx)), call(find_message(instance, handle)) {
    if (!call) return;
    lock = std::unique_lock(call->mutex);
    if (call->alive && message_handle(call->handle) == handle) rc = call->context == nullptr ? mr_rc{MR_E_STAGE} : mr_rc{MR_OK};
  }
  // For what is there only when the message is.
  mr_rc content() const { return rc == MR_OK && call->message == nullptr ? mr_rc{MR_E_STAGE} : rc; }
  mr_rc declared(std::uint32_t kind) {
    if ((instance.descriptor().edits & kind) != 0) return MR_OK;
    if (!std::exchange(call->misbehaved, true)) instance.misbehaving("an edit of a kind it did not declare");
    return MR_E_DENIED;
  }
  // For an edit of that kind.
  mr_rc may_edit(std::uint32_t kind) {
    if (const mr_rc there = content(); there != MR_OK) return there;
    if (const mr_rc allowed = declared(kind); allowed != MR_OK) return allowed;
    return call->journal->edits().size() < kMaxEdits ? MR_OK : MR_E_LIMIT;
  }

  Instance& instance;
  std::shared_ptr<Call> call;
  std::unique_lock<std::mutex> lock;
  mr_rc rc = MR_E_STALE;
};

mr_rc give(View& view, mr_string* out, std::string text) {
  *out = view.call->keep(std::move(text));
  return MR_OK;
}

// --- envelope -----------------------------------------------------------------------------------

mr_rc queue_id(void* ctx, mr_handle message, mr_string* id) noexcept {
  View view(ctx, message);
  if (view.rc != MR_OK || id == nullptr) return view.rc != MR_OK ? view.rc : mr_rc{MR_E_ARGUMENT};
  const std::string& text = view.call->context->envelope.queue_id;
  return text.empty() ? mr_rc{MR_E_ABSENT} : give(view, id, text);
}

mr_rc sender(void* ctx, mr_handle message, mr_string* address) noexcept {
  View view(ctx, message);
  if (view.rc != MR_OK || address == nullptr) return view.rc != MR_OK ? view.rc : mr_rc{MR_E_ARGUMENT};
  return give(view, address, view.call->context->envelope.sender);
}

mr_rc recipient_count(void* ctx, mr_handle message, std::uint64_t* count) noexcept {
  View view(ctx, message);
  if (view.rc != MR_OK || count == nullptr) return view.rc != MR_OK ? view.rc : mr_rc{MR_E_ARGUMENT};
  *count = view.call->context->rcpt != nullptr ? 1 : view.call->context->envelope.recipients.size();
  return MR_OK;
}

mr_rc recipient_at(void* ctx, mr_handle message, std::uint64_t index, mr_string* address) noexcept {
  View view(ctx, message);
  if (view.rc != MR_OK || address == nullptr) return view.rc != MR_OK ? view.rc : mr_rc{MR_E_ARGUMENT};
  const filter::Context& context = *view.call->context;
  if (context.rcpt != nullptr) return index == 0 ? give(view, address, context.rcpt->address) : mr_rc{MR_E_ABSENT};
  if (index >= context.envelope.recipients.size()) return MR_E_ABSENT;
  return give(view, address, context.envelope.recipients[index].address);
}

// --- headers and body ---------------------------------------------------------------------------

mr_rc header_count(void* ctx, mr_handle message, std::uint64_t* count) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK || count == nullptr) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  const auto& headers = view.call->message->headers;
  *count = static_cast<std::uint64_t>(
      std::count_if(headers.begin(), headers.end(), [](const mime::Header& h) { return !h.own_received; }));
  return MR_OK;
}

mr_rc header_at(void* ctx, mr_handle message, std::uint64_t index, mr_string* name, mr_string* value) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK) return rc;
  for (const mime::Header& header : view.call->message->headers) {
    if (header.own_received || index-- > 0) continue;
    if (name != nullptr) give(view, name, std::string(header.name()));
    if (value != nullptr) give(view, value, header.milter_value(false));
    return MR_OK;
  }
  return MR_E_ABSENT;
}

mr_rc header_find(void* ctx, mr_handle message, mr_string name, std::uint64_t nth, mr_string* value) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK) return rc;
  const auto wanted = to_view(name, 1000);
  if (!wanted || nth == 0 || value == nullptr) return MR_E_ARGUMENT;
  const mime::Header* const found = view.call->message->find(*wanted, nth);
  return found == nullptr ? mr_rc{MR_E_ABSENT} : give(view, value, found->milter_value(false));
}

mr_rc header_text(void* ctx, mr_handle message, mr_string* text) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK || text == nullptr) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  std::string whole;
  for (const mime::Header& header : view.call->message->headers) {
    if (!header.own_received) whole.append(header.text()).append("\r\n");
  }
  return give(view, text, std::move(whole));
}

mr_rc body_size(void* ctx, mr_handle message, std::uint64_t* octets) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK || octets == nullptr) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  *octets = view.call->message->body.size();
  return MR_OK;
}

mr_rc body_read(void* ctx, mr_handle message, std::uint64_t offset, void* into, std::uint64_t size,
                std::uint64_t* got) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.content(); rc != MR_OK) return rc;
  if (got == nullptr || (into == nullptr && size > 0)) return MR_E_ARGUMENT;
  if (!may_read_body(*view.call)) return MR_E_DENIED;
  const auto n = view.call->message->body.read_at(offset, {static_cast<char*>(into), static_cast<std::size_t>(size)});
  if (!n) return MR_E_FAILED;
  *got = *n;
  return MR_OK;
}

// --- edits --------------------------------------------------------------------------------------

bool is_field_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127 && c != ':'; });
}

// Folds are allowed, other control characters are not.
bool is_field_value(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    return (c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 127;
  });
}

// What the header edits have in common: checks, and the layout that says where a field is by now.
struct HeaderEdit {
  HeaderEdit(void* ctx, mr_handle message, mr_string name, mr_string value)
      : view(ctx, message), field(to_view(name, 200)), text(to_view(value, kMaxEditText)) {
    rc = view.may_edit(MR_EDIT_HEADERS);
    if (rc == MR_OK && (!field || !text || !is_field_name(*field) || !is_field_value(*text))) rc = MR_E_ARGUMENT;
    if (rc == MR_OK && !view.call->layout) view.call->layout.emplace(view.call->message->headers);
  }
  HeaderLayout& layout() { return *view.call->layout; }
  mr_rc add(Edit::Kind kind, std::size_t index) {
    view.call->journal->add({kind, index, std::string(*field), std::string(*text)});
    return MR_OK;
  }

  View view;
  std::optional<std::string_view> field, text;
  mr_rc rc;
};

mr_rc header_add(void* ctx, mr_handle message, mr_string name, mr_string value) noexcept {
  HeaderEdit edit(ctx, message, name, value);
  if (edit.rc != MR_OK) return edit.rc;
  edit.layout().add(*edit.field);
  return edit.add(Edit::Kind::add_header, 0);
}
mr_rc header_insert(void* ctx, mr_handle message, std::uint64_t index, mr_string name, mr_string value) noexcept {
  HeaderEdit edit(ctx, message, name, value);
  if (edit.rc != MR_OK) return edit.rc;
  return edit.add(Edit::Kind::insert_header, edit.layout().insert(index, *edit.field));
}
// Before the message is there: kept by the call, for the transaction (filter::Context::prepend).
mr_rc prepend_early(void* ctx, mr_handle message, mr_string name, mr_string value) {
  View view(ctx, message);
  if (view.rc != MR_OK) return view.rc;
  Call& call = *view.call;
  if ((call.stage & kTransactionStages) == 0) return MR_E_STAGE;
  if (const mr_rc rc = view.declared(MR_EDIT_HEADERS); rc != MR_OK) return rc;
  const auto field = to_view(name, 200), text = to_view(value, kMaxEditText);
  if (!field || !text || !is_field_name(*field) || !is_field_value(*text)) return MR_E_ARGUMENT;
  if (call.prepend.size() >= kMaxEarlyFields) return MR_E_LIMIT;
  call.prepend.push_back(std::string(*field) + ": " + std::string(*text));
  return MR_OK;
}

mr_rc header_prepend(void* ctx, mr_handle message, mr_string name, mr_string value) noexcept {
  {
    View view(ctx, message);
    if (view.rc == MR_OK && view.call->message == nullptr) {
      view.lock.unlock();
      return prepend_early(ctx, message, name, value);
    }
  }
  HeaderEdit edit(ctx, message, name, value);
  if (edit.rc != MR_OK) return edit.rc;
  edit.layout().prepend(*edit.field);
  return edit.add(Edit::Kind::insert_header, 0);
}
mr_rc header_change(void* ctx, mr_handle message, mr_string name, std::uint64_t nth, mr_string value) noexcept {
  HeaderEdit edit(ctx, message, name, value);
  if (edit.rc != MR_OK) return edit.rc;
  const auto now = edit.layout().locate(*edit.field, nth);
  if (!now) return MR_E_ABSENT;
  if (trim(*edit.text).empty()) edit.text = " ";   // an empty value would delete the field
  return edit.add(Edit::Kind::change_header, *now);
}
mr_rc header_delete(void* ctx, mr_handle message, mr_string name, std::uint64_t nth) noexcept {
  HeaderEdit edit(ctx, message, name, {nullptr, 0});
  if (edit.rc != MR_OK) return edit.rc;
  const auto now = edit.layout().locate(*edit.field, nth);
  if (!now) return MR_E_ABSENT;
  edit.layout().erase(*edit.field, nth);
  return edit.add(Edit::Kind::delete_header, *now);
}

mr_rc edit_envelope(void* ctx, mr_handle message, Edit::Kind kind, mr_string address, bool may_be_empty) {
  View view(ctx, message);
  if (const mr_rc rc = view.may_edit(MR_EDIT_ENVELOPE); rc != MR_OK) return rc;
  const auto text = to_view(address, 1000);
  if (!text || (text->empty() && !may_be_empty) || printable(*text) != *text) return MR_E_ARGUMENT;
  view.call->journal->add({kind, 0, std::string(*text), {}});
  return MR_OK;
}

mr_rc recipient_add(void* ctx, mr_handle message, mr_string address) noexcept {
  return edit_envelope(ctx, message, Edit::Kind::add_recipient, address, false);
}
mr_rc recipient_delete(void* ctx, mr_handle message, mr_string address) noexcept {
  return edit_envelope(ctx, message, Edit::Kind::delete_recipient, address, false);
}
mr_rc sender_change(void* ctx, mr_handle message, mr_string address) noexcept {
  return edit_envelope(ctx, message, Edit::Kind::change_sender, address, true);
}

mr_rc body_append(void* ctx, mr_handle message, mr_string bytes) noexcept {
  View view(ctx, message);
  if (const mr_rc rc = view.may_edit(MR_EDIT_BODY); rc != MR_OK) return rc;
  const auto text = to_view(bytes, SIZE_MAX);
  if (!text) return MR_E_ARGUMENT;
  Call& call = *view.call;
  const std::int64_t limit = view.instance.host().body_limit;
  call.body_octets += text->size();
  if (limit > 0 && call.body_octets > static_cast<std::uint64_t>(limit)) {
    call.spoiled = true;   // half a body must not take the place of a whole one
    return MR_E_LIMIT;
  }
  std::string canonical;
  call.canonicalizer.add(*text, canonical);
  if (!call.journal->append_body(canonical)) {
    call.spoiled = true;
    return MR_E_FAILED;
  }
  return MR_OK;
}

constexpr mr_msg_1 kMessage{
    sizeof(mr_msg_1), 0,         queue_id,      sender,         recipient_count, recipient_at,
    header_count,     header_at, header_find,   body_size,      body_read,       header_add,
    header_insert,    header_prepend, header_change, header_delete, recipient_add, recipient_delete,
    sender_change,    body_append,    header_text};

}  // namespace

const mr_msg_1& message_interface() { return kMessage; }

}  // namespace millrace::plugin
