// "mr.mime/1": a plugin's view of the parts.
#include "core/base/strings.h"
#include "core/plugin/call.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {
namespace {

// The call and its parts, made at first use; errors in rc.  Locked: the message belongs to the asker.
struct Parts {
  Parts(void* ctx, mr_handle handle) : call(find_message(*static_cast<Instance*>(ctx), handle)) {
    if (!call) return;
    lock = std::unique_lock(call->mutex);
    if (!call->alive || message_handle(call->handle) != handle) return;
    rc = call->message == nullptr ? mr_rc{MR_E_STAGE} : may_read_body(*call) ? mr_rc{MR_OK} : mr_rc{MR_E_DENIED};
    if (rc == MR_OK && !call->mime) call->mime = std::make_unique<MimeView>(*call->message);
  }
  const MimePart* at(std::uint64_t index) {
    if (rc == MR_OK && index >= call->mime->parts().size()) rc = MR_E_ABSENT;
    return rc == MR_OK ? &call->mime->parts()[static_cast<std::size_t>(index)] : nullptr;
  }
  std::shared_ptr<Call> call;
  std::unique_lock<std::mutex> lock;
  mr_rc rc = MR_E_STALE;
};

mr_rc part_count(void* ctx, mr_handle message, std::uint64_t* count) noexcept {
  if (count == nullptr) return MR_E_ARGUMENT;
  Parts parts(ctx, message);
  if (parts.rc == MR_OK) *count = parts.call->mime->parts().size();
  return parts.rc;
}

mr_rc part_at(void* ctx, mr_handle message, std::uint64_t index, mr_mime_part* out) noexcept {
  if (!MR_HAS(mr_mime_part, out, body_size)) return MR_E_ARGUMENT;
  Parts parts(ctx, message);
  const MimePart* const part = parts.at(index);
  if (part == nullptr) return parts.rc;
  out->depth = part->depth;
  out->type = parts.call->keep(part->type);
  out->encoding = parts.call->keep(part->encoding);
  out->disposition = parts.call->keep(part->disposition);
  out->filename = parts.call->keep(part->filename);
  out->charset = parts.call->keep(part->charset);
  out->body_offset = part->offset;
  out->body_size = part->size;
  return MR_OK;
}

mr_rc part_header(void* ctx, mr_handle message, std::uint64_t index, mr_string name, std::uint64_t nth, mr_string* value) noexcept {
  const auto wanted = to_view(name, 1000);
  if (!wanted || nth == 0 || value == nullptr) return MR_E_ARGUMENT;
  Parts parts(ctx, message);
  const MimePart* const part = parts.at(index);
  if (part == nullptr) return parts.rc;
  for (const auto& [known, text] : part->headers) {
    if (iequals(known, *wanted) && --nth == 0) return *value = parts.call->keep(text), MR_OK;
  }
  return MR_E_ABSENT;
}

mr_rc part_read(void* ctx, mr_handle message, std::uint64_t index, std::uint64_t offset, void* into, std::uint64_t size,
                std::uint64_t* got) noexcept {
  if (got == nullptr || (into == nullptr && size > 0)) return MR_E_ARGUMENT;
  Parts parts(ctx, message);
  if (parts.at(index) == nullptr) return parts.rc;
  const auto n = parts.call->mime->read(static_cast<std::size_t>(index), offset, {static_cast<char*>(into), static_cast<std::size_t>(size)});
  if (!n) return MR_E_FAILED;
  *got = *n;
  return MR_OK;
}

constexpr mr_mime_1 kMime{sizeof(mr_mime_1), 0, part_count, part_at, part_header, part_read};

}  // namespace

const mr_mime_1& mime_interface() { return kMime; }

}  // namespace millrace::plugin
