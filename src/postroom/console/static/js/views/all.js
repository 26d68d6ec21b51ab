// Every page by the name that it has in an address.
import { channelView } from "./channel.js";
import { channelsView } from "./channels.js";
import { lostView } from "./lost.js";
import { messageView } from "./message.js";
import { messagesView } from "./messages.js";
import { overviewView } from "./overview.js";
import { queuesView } from "./queues.js";
import { relaysView } from "./relays.js";
import { sitesView } from "./sites.js";
import { sourcesView } from "./sources.js";

export const VIEWS = {
  overview: overviewView,
  messages: messagesView,
  message: messageView,
  sites: sitesView,
  channels: channelsView,
  channel: channelView,
  queues: queuesView,
  relays: relaysView,
  sources: sourcesView,
  lost: lostView,
};
