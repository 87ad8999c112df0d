// Asio's own code, compiled once: the other files see declarations alone
// (BOOST_ASIO_SEPARATE_COMPILATION).
#include <boost/asio/impl/src.hpp>
