#include "core/net/unbound_events.h"

#include <sys/time.h>
#include <unbound-event.h>
#include <unbound.h>

#include <memory>

#include "core/net/descriptor.h"
#include "core/net/scheduler.h"

namespace millrace::net {
namespace {

using Callback = void (*)(int, short, void*);

// One event as libevent knows them: a descriptor, or a time, or both.  Its descriptor is
// libunbound's.
struct UnboundEvent : ub_event {
  struct Ready final : ReadyHandler {
    UnboundEvent* event = nullptr;
    short bit = 0;
    void ready() override { event->happened(bit); }
  };
  struct Timer : TimerEntry {
    UnboundEvent* event = nullptr;
  };

  UnboundEvent(int on_fd, short on_bits, Callback callback, void* with)
      : fd(on_fd), bits(on_bits), call(callback), argument(with) {
    static ub_event_vmt table = {
        [](ub_event* e, short more) { self(e).bits |= more; },
        [](ub_event* e, short less) { self(e).bits = static_cast<short>(self(e).bits & ~less); },
        [](ub_event* e, int other) {
          self(e).forget_descriptor();
          self(e).fd = other;
        },
        [](ub_event* e) { delete &self(e); },
        [](ub_event* e, timeval* after) { return self(e).add(after); },
        [](ub_event* e) { return self(e).del(); },
        [](ub_event* e, ub_event_base*, Callback callback_now, void* argument_now, timeval* after) {
          self(e).del();
          self(e).call = callback_now;
          self(e).argument = argument_now;
          return self(e).add(after);
        },
        [](ub_event* e) { return self(e).del(); },
        [](ub_event*, timeval*) { return -1; },  // signals: not ours
        [](ub_event*) { return -1; },
        [](ub_event*) {},
        [](ub_event*, int) {},
    };
    magic = UB_EVENT_MAGIC;
    vmt = &table;
    read.event = write.event = timer.event = this;
    read.bit = UB_EV_READ;
    write.bit = UB_EV_WRITE;
    timer.fire = [](TimerEntry& entry) {
      static_cast<Timer&>(entry).event->happened(UB_EV_TIMEOUT);
    };
  }

  ~UnboundEvent() {
    del();
    if (freed != nullptr) *freed = true;
  }
  UnboundEvent(const UnboundEvent&) = delete;

  static UnboundEvent& self(ub_event* event) { return *static_cast<UnboundEvent*>(event); }

  int add(timeval* after) {
    added = true;
    listen();
    if (after != nullptr) {
      span = std::chrono::seconds(after->tv_sec) + std::chrono::microseconds(after->tv_usec);
      timed = true;
      start();
    }
    return 0;
  }

  int del() {
    added = timed = false;
    stop_timer(timer);
    forget_descriptor();
    return 0;
  }

  void listen() {
    if (fd < 0 || (bits & (UB_EV_READ | UB_EV_WRITE)) == 0) return;
    if (descriptor == nullptr) descriptor = std::make_unique<Descriptor>(fd);
    if ((bits & UB_EV_READ) != 0) descriptor->notify(Descriptor::Direction::read, &read);
    if ((bits & UB_EV_WRITE) != 0) descriptor->notify(Descriptor::Direction::write, &write);
  }

  void start() {
    stop_timer(timer);
    timer.at = SteadyClock::now() + span;
    start_timer(timer);
  }

  void forget_descriptor() {
    if (descriptor != nullptr) descriptor->release();
    descriptor.reset();
  }

  void happened(short what) {
    const bool persists = (bits & UB_EV_PERSIST) != 0;
    if (!persists) {
      del();
    } else if (timed) {
      start();
    }
    bool gone = false;
    freed = &gone;
    call(fd, what, argument);  // may free the event
    if (gone) return;
    freed = nullptr;
    if (added) listen();
  }

  int fd;
  short bits;
  Callback call;
  void* argument;
  bool added = false, timed = false;
  std::chrono::microseconds span{};
  Ready read, write;
  Timer timer;
  std::unique_ptr<Descriptor> descriptor;
  bool* freed = nullptr;
};

}  // namespace

ub_event_base* unbound_event_base() {
  static ub_event_base_vmt table = {
      [](ub_event_base*) {},
      [](ub_event_base*) { return 0; },
      [](ub_event_base*, timeval*) { return 0; },
      [](ub_event_base*, int fd, short bits, Callback callback, void* argument) -> ub_event* {
        return new UnboundEvent(fd, bits, callback, argument);
      },
      [](ub_event_base*, int, Callback, void*) -> ub_event* { return nullptr; },
      [](ub_event_base*, void*, Callback, void*) -> ub_event* { return nullptr; },
  };
  static ub_event_base base = {UB_EVENT_MAGIC, &table};
  return &base;
}

}  // namespace millrace::net
