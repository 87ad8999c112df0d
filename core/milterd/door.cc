// Milter connections: see door.h.
#include "core/milterd/door.h"

#include "core/milterd/conversation.h"

namespace millrace::milterd {

void Door::serve(std::unique_ptr<net::Stream> stream) {
  ++open_;
  Conversation(*this, std::move(stream)).run();
  --open_;
}

void Door::drain() {
  draining_ = true;
  // Their fibers wait for a packet: the end of the stream wakes them.
  for (net::Stream* const stream : idle_) stream->close();
}

}  // namespace millrace::milterd
