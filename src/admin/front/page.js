// The status page. It asks the API beside it, builds nodes and never markup, and keeps what it has seen in memory only.
"use strict";

const API = "/api/v1/";
const SPACE = "http://www.w3.org/2000/svg";
const ROWS = 50, FIRST_ROWS = 20, DRAWN = 6, MOST_POINTS = 900, PERIOD = 2000;

// ---- words: a line each, the same keys in both languages (a test compares)
const WORDS = {
en: {
// words: en
title: "tcp-forwarder",
live: "live",
offline: "no answer",
up_for: "up for {0}",
all_services: "All services",
services: "Services",
service: "Service",
state: "State",
members: "Members",
connections: "Connections",
candidates: "Candidates",
listens: "Listens at",
filter: "Part of a name",
none_yet: "None.",
waiting: "Waiting for the first answer …",
rows: "{0}–{1} of {2}",
previous: "Previous",
next: "Next",
good: "good",
last_good: "last good set",
best_scored: "best there are",
asleep: "asleep",
leaving: "leaving",
no_members: "no members",
full: "full",
hint_last_good: "No candidate passes the threshold; the last set that did stays in use.",
hint_best_scored: "No candidate passes the threshold, and none ever did; the best there are serve.",
hint_asleep: "Nobody has used this service for long, so it rests; the first client wakes it.",
address: "Address",
score: "Score",
latency: "Latency",
jitter: "Jitter",
success: "Success",
throughput: "Throughput",
bonus: "Bonus",
penalty: "Penalty",
parts_note: "A score is the sum of its parts less the penalty; the bars share one scale, 0 to {0} points.",
warm: "Warm / target",
requests: "Served",
member_for: "Member for",
actions: "Actions",
drain: "Drain",
maintenance: "Maintenance",
ready: "Ready",
probe: "Probe",
probe_all: "Probe all",
reload: "Reload",
undo: "Undo",
drain_hint: "no new clients; those that it has go on",
maintenance_hint: "no new clients, and no probes",
ready_hint: "back by the usual rules",
probe_hint: "probed next",
withdrawn: "Taken out by hand",
known: "Known / listed",
answering: "Answering",
evaluated: "Evaluated",
ago: "{0} ago",
why: "Why these?",
why_out: "Who is not in, and why",
reason: "Reason",
change: "What would change it",
original: "In the forwarder's own words",
latency_over: "Latency of members over time",
connections_over: "Connections over time",
chart_note: "Mean latency as the forwarder knows it, read every {0} since this page was opened. Nothing older is kept, and nothing is once it is closed.",
chart_some: "The best {0} of {1} members are drawn.",
chart_marks: "A dotted upright line: the active set changed.",
chart_conn_note: "Clients' connections of this service, read at the same times.",
chart_wait: "The first points come in a moment.",
chart_now: "now",
chart_label: "{0}: from {1} to {2} {3} in {4}",
heat: "The searched space",
heat_note: "Each square is a prefix of the candidate list, in the order of addresses. The list is divided where most is known, into {0} parts now: where squares are small prefixes, the search has looked closely. Colour is the best mean latency in it; the bar below it is the share that answers.",
heat_model: "A model searches this list, for it is too long to be looked at whole: it has tried {0} of {1} addresses that it remembers. This picture is {2} old.",
heat_board: "This list is short enough to be looked at whole; the picture follows from the scores.",
heat_none: "asked, no answer",
heat_unknown: "not asked yet",
heat_pick: "Choose a square, with the pointer or the arrow keys, to read it.",
heat_cell: "{0}: {1} addresses, {2} known; best latency {3}; {4} answer",
heat_show: "Show its candidates",
sort: "Sort by",
sort_score: "highest score",
sort_latency: "lowest latency",
sort_age: "youngest sample",
sort_addr: "address",
prefix: "Prefix, such as 192.0.2.0/24",
more: "Show more",
matching: "{0} of {1} known",
success_rate: "Answers / share",
sampled: "Last sample",
member: "member",
distrusted: "distrusted",
recalled: "from before",
client: "Client",
backend: "Backend",
via: "Via",
stage: "Stage",
age: "Age",
idle: "Idle",
to_backend: "To backend",
to_client: "To client",
oldest: "The {0} oldest of {1} in all services.",
oldest_here: "Those of this service among the {0} oldest of {1} in all services.",
fleet: "Fleet",
node: "Forwarder",
vantage: "Vantage",
link_down: "link down",
spoke: "Last spoke",
probes: "Members it probes",
this_one: "this one",
events: "Events",
events_note: "Newest first; what happened before this page was opened as well, up to 1,000.",
since_hint: "Times are this device's.",
process: "the process",
token_give: "Enter token",
token_drop: "Forget token",
token_title: "Admin token",
token_note: "The value of metrics.admin_token. It stays in this tab until it is closed, and is sent with each request to this forwarder.",
token_wrong: "This token is not accepted.",
token_ok: "The token is accepted: actions are unlocked.",
read_only: "read-only: metrics.admin_token is not set",
cancel: "Cancel",
ok: "Unlock",
by_name: "The forwarder answers nobody who calls it by a name: use its address or localhost, or enter the token.",
no_answer: "The forwarder does not answer ({0}); the values below are old. Trying again …",
gone: "There is no service of this name any more.",
done_state: "{0} is set to {1}.",
done_probe: "Asked for: {0} is probed next.",
done_probe_all: "Asked for: all are probed anew.",
done_reload: "Reloaded: {0}.",
nothing_changed: "nothing has changed",
failed: "Refused: {0}",
last_reload: "Last reload",
reload_success: "applied",
reload_failure: "refused",
restart_needed: "a restart is needed for a part of it",
language: "中文",
foot: "version {0}, process {1}, started {2}. The API behind this page: {3}",
ev_switch: "Active set changed ({0}): in {1}; out {2}; mean score {3} → {4}",
ev_footing_good: "Candidates pass the threshold again",
ev_sleep: "Asleep: nobody has used it for long",
ev_wake: "Awake",
ev_link_down: "Our own link seems to be down: {0} that used to answer fail",
ev_link_back: "Our own link is back after {0}",
ev_uplink: "Another way to the network, or the machine has slept: all are looked at anew",
ev_reload: "Reloaded: {0}",
ev_reload_refused: "Not reloaded: {0}",
ev_admin_state: "{0} is set to {1} by hand",
ev_probe: "{0} is probed by hand",
ev_probe_all: "All are probed anew by hand",
ev_log_level: "The log is at level {0}",
nobody: "nobody",
sw_initial: "first set",
sw_better: "a better set",
sw_emergency: "a member failed or left the list",
sw_fill: "the set was too small",
sw_fallback: "nobody passes",
sw_resize: "the set was made smaller",
sw_withdrawn: "a member was taken out by hand",
sw_tier: "a higher tier passes again",
pause_link_down: "Our own link is down: nothing is chosen until it is back.",
pause_asleep: "The service is asleep: nothing is chosen until a client wakes it.",
rules: "Rules: {0} members, at least {1} points and {2} answers; a better set must gain {3} points (or be sooner by {4}), and last {5}.",
st_opening: "opening",
st_queued: "queued",
st_dialling: "dialling",
st_relaying: "relaying",
st_half_closed: "half-closed",
st_closing: "closing",
via_warm: "warm",
via_dialled: "dialled",
// end
},
zh: {
// words: zh
title: "tcp-forwarder 状态",
live: "实时",
offline: "无应答",
up_for: "已运行 {0}",
all_services: "全部服务",
services: "服务",
service: "服务",
state: "状态",
members: "成员",
connections: "连接",
candidates: "候选地址",
listens: "监听地址",
filter: "按名称筛选",
none_yet: "暂无。",
waiting: "正在等待第一次应答……",
rows: "第 {0}–{1} 条,共 {2} 条",
previous: "上一页",
next: "下一页",
good: "正常",
last_good: "沿用上一组",
best_scored: "勉强可用",
asleep: "休眠",
leaving: "正在退出",
no_members: "没有成员",
full: "已满",
hint_last_good: "没有候选达到门槛,继续使用上一组达标的成员。",
hint_best_scored: "没有候选达到门槛,也从未有过;暂用其中最好的。",
hint_asleep: "该服务很久没有客户端使用,正在休眠;第一个客户端会唤醒它。",
address: "地址",
score: "得分",
latency: "延迟",
jitter: "抖动",
success: "成功率",
throughput: "吞吐",
bonus: "奖励",
penalty: "惩罚",
parts_note: "得分 = 各部分之和 − 惩罚;所有条形用同一刻度:0 到 {0} 分。",
warm: "预热 / 目标",
requests: "已服务",
member_for: "入选时长",
actions: "操作",
drain: "排空",
maintenance: "维护",
ready: "恢复",
probe: "探测",
probe_all: "全部重新探测",
reload: "重新加载",
undo: "撤销",
drain_hint: "不再接新客户端,已有连接继续",
maintenance_hint: "不接新客户端,也不再探测",
ready_hint: "按正常规则重新参与",
probe_hint: "下一个探测它",
withdrawn: "手动摘除",
known: "已知 / 名单",
answering: "有应答",
evaluated: "上次评估",
ago: "{0}前",
why: "为什么是它们?",
why_out: "落选者与原因",
reason: "原因",
change: "怎样才会改变",
original: "转发器原文(英文)",
latency_over: "成员延迟变化",
connections_over: "连接数变化",
chart_note: "转发器所知的平均延迟,自打开本页起每 {0}读取一次。更早的数据没有保存,关闭页面后也不保存。",
chart_some: "只画出 {1} 个成员中最好的 {0} 个。",
chart_marks: "竖直虚线:活动集在此时更换。",
chart_conn_note: "该服务的客户端连接数,与上图同时读取。",
chart_wait: "第一批数据马上就到。",
chart_now: "现在",
chart_label: "{0}:{4}内从 {1} 到 {2} {3}",
heat: "搜索空间",
heat_note: "每个方块是候选名单中的一个前缀,按地址排列。名单在了解最多的地方分得最细,现在分成 {0} 份:前缀越小的地方,搜索看得越仔细。颜色是其中最好的平均延迟,下方横条是有应答的比例。",
heat_model: "名单太长,无法逐个探测,由模型搜索:记得的地址中已试过 {0} 个,名单共 {1} 个。此图是 {2}前的。",
heat_board: "名单不长,可以全部探测;此图由得分得出。",
heat_none: "探测过,无应答",
heat_unknown: "尚未探测",
heat_pick: "用鼠标或方向键选择方块查看。",
heat_cell: "{0}:{1} 个地址,已知 {2} 个;最好延迟 {3};应答比例 {4}",
heat_show: "查看其中的候选",
sort: "排序",
sort_score: "得分从高到低",
sort_latency: "延迟从低到高",
sort_age: "最近探测",
sort_addr: "地址",
prefix: "前缀,例如 192.0.2.0/24",
more: "显示更多",
matching: "{0} 个,已知共 {1} 个",
success_rate: "应答 / 比例",
sampled: "最近探测",
member: "成员",
distrusted: "不可信",
recalled: "以前的数据",
client: "客户端",
backend: "后端",
via: "方式",
stage: "阶段",
age: "时长",
idle: "空闲",
to_backend: "发往后端",
to_client: "发往客户端",
oldest: "所有服务共 {1} 个连接,这里是最早的 {0} 个。",
oldest_here: "所有服务 {1} 个连接中最早的 {0} 个里,属于本服务的。",
fleet: "集群",
node: "转发器",
vantage: "观测点",
link_down: "网络中断",
spoke: "上次联络",
probes: "负责探测的成员",
this_one: "本机",
events: "事件",
events_note: "最新的在前;包括打开本页之前发生的,最多 1000 条。",
since_hint: "时间为本设备的时间。",
process: "进程",
token_give: "输入令牌",
token_drop: "清除令牌",
token_title: "管理令牌",
token_note: "即 metrics.admin_token 的值。它只保存在此标签页中,关闭即清除,并随每次请求发给本转发器。",
token_wrong: "令牌不正确。",
token_ok: "令牌正确,已可操作。",
read_only: "只读:未设置 metrics.admin_token",
cancel: "取消",
ok: "解锁",
by_name: "转发器不应答用域名访问的请求:请用它的 IP 地址或 localhost,或输入令牌。",
no_answer: "转发器没有应答({0}),下面是旧数据。正在重试……",
gone: "这个服务已经不存在。",
done_state: "{0} 已设为{1}。",
done_probe: "已请求:下一个探测 {0}。",
done_probe_all: "已请求:全部重新探测。",
done_reload: "已重新加载:{0}。",
nothing_changed: "没有变化",
failed: "被拒绝:{0}",
last_reload: "上次加载",
reload_success: "已生效",
reload_failure: "被拒绝",
restart_needed: "其中一部分需要重启才能生效",
language: "English",
foot: "版本 {0},进程 {1},启动于 {2}。本页背后的 API:{3}",
ev_switch: "活动集更换({0}):加入 {1};退出 {2};平均得分 {3} → {4}",
ev_footing_good: "又有候选达到门槛",
ev_sleep: "休眠:很久无人使用",
ev_wake: "唤醒",
ev_link_down: "本机网络似乎断了:{0} 个平时有应答的地址失败",
ev_link_back: "本机网络在 {0}后恢复",
ev_uplink: "出口网络改变,或机器曾休眠:全部重新探测",
ev_reload: "重新加载:{0}",
ev_reload_refused: "未能重新加载:{0}",
ev_admin_state: "手动将 {0} 设为{1}",
ev_probe: "手动探测 {0}",
ev_probe_all: "手动全部重新探测",
ev_log_level: "日志级别为 {0}",
nobody: "无",
sw_initial: "第一组",
sw_better: "有更好的一组",
sw_emergency: "成员失效或离开名单",
sw_fill: "成员不足",
sw_fallback: "无人达标",
sw_resize: "成员数调小",
sw_withdrawn: "成员被手动摘除",
sw_tier: "更高一级恢复",
pause_link_down: "本机网络断开:恢复之前不作选择。",
pause_asleep: "服务休眠:客户端唤醒之前不作选择。",
rules: "规则:{0} 个成员,至少 {1} 分、{2} 次应答;更好的一组须高出 {3} 分(或延迟低 {4}),并持续 {5}。",
st_opening: "握手",
st_queued: "排队",
st_dialling: "连接中",
st_relaying: "转发中",
st_half_closed: "半关闭",
st_closing: "关闭中",
via_warm: "预热",
via_dialled: "新建",
// end
// In English stands what the forwarder says itself.
why_withdrawn: "被手动摘除",
why_delisted: "已不在名单中",
why_distrusted_clients: "连接不可信:对客户端失败",
why_distrusted_checks: "连接不可信:检查应答有误",
why_distrusted_both: "连接不可信:对客户端失败,检查应答也有误",
why_below_threshold: "得分低于门槛",
why_surplus: "活动集变小了",
why_behind: "更高一级有达标者",
why_recalled: "只有以前的数据,之后尚未探测",
why_unconfirmed: "应答次数不足,尚未确认",
why_lost: "与现有一组比较后,现有一组留用(差距或防抖)",
why_outranked: "名额给了更好的",
},
};
let lang = sessionStorage.getItem("lang") || ((navigator.languages || [navigator.language])[0] || "en").toLowerCase().slice(0, 2);
if (lang !== "zh") lang = "en";

function t(key, ...values) {
	const words = WORDS[lang][key];
	return words === undefined ? key : words.replace(/\{(\d)\}/g, (_, at) => values[at]);
}
/** A word of a family, such as a reason; itself where a newer forwarder says another one. */
const word = (family, name) => WORDS[lang][family + "_" + name] || name;

// ---- values in words
const number = (value, digits = 0) =>
	value.toLocaleString(LOCALES[lang], { maximumFractionDigits: digits, minimumFractionDigits: digits });
const ms = (value) => ((value ?? null) === null ? "–" : number(value, value < 10 ? 2 : value < 100 ? 1 : 0) + " ms");
const percent = (share) => (share === null ? "–" : number(share * 100, share > 0 && share < 0.1 ? 1 : 0) + " %");
const UNITS = { en: [" s", " min", " h", " d"], zh: [" 秒", " 分钟", " 小时", " 天"] };
function span(seconds) {
	const [s, min, hour, day] = UNITS[lang];
	if (seconds < 10) return number(seconds, seconds < 1 ? 1 : 0) + s;
	if (seconds < 120) return number(seconds) + s;
	if (seconds < 7200) return number(Math.floor(seconds / 60)) + min;
	if (seconds < 172800) return number(Math.floor(seconds / 3600)) + hour;
	return number(Math.floor(seconds / 86400)) + day;
}
function bytes(count) {
	const names = ["B", "kB", "MB", "GB", "TB", "PB"];
	let at = 0;
	while (count >= 1000 && at < names.length - 1) { count /= 1000; at += 1; }
	return number(count, at && count < 100 ? 1 : 0) + " " + names[at];
}
const $ = (id) => document.getElementById(id);
const LOCALES = { en: "en", zh: "zh-CN" };
/** The first of many. */
const some = (values, most) => values.slice(0, most).join(", ") + (values[most] ? ", …" : "");
const list = (values) => some(values, 12) || t("nobody");

// ---- nodes
const DRAWN_TAGS = new Set(["svg", "g", "rect", "path", "line", "text"]);
/** A node: name and classes, attributes, children; what is null or false is left out. */
function h(tag, attributes, ...kids) {
	const [name, ...classes] = tag.split(".");
	const node = DRAWN_TAGS.has(name) ? document.createElementNS(SPACE, name) : document.createElement(name);
	if (classes.length) node.setAttribute("class", classes.join(" "));
	for (const [key, value] of Object.entries(attributes || {}))
		if ((value ?? false) !== false) node.setAttribute(key, value === true ? "" : value);
	for (const kid of kids.flat(4)) if ((kid ?? false) !== false) node.append(kid);
	return node;
}
const keyOf = (node) => node.dataset?.k || "";
const alike = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
/** Makes a node like a fresh one, and leaves all that is alike in its place: focus, selection, what is open or typed. */
function become(old, fresh) {
	if (old.nodeType !== 1) {
		if (old.data !== fresh.data) old.data = fresh.data;
		return;
	}
	for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
	for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
	const keyed = new Map();
	for (const kid of old.childNodes) if (keyOf(kid)) keyed.set(keyOf(kid), kid);
	let at = old.firstChild;
	for (const kid of [...fresh.childNodes]) {
		const match = keyOf(kid) ? keyed.get(keyOf(kid)) : at;
		if (!match || !alike(match, kid)) {
			old.insertBefore(kid, at);
			continue;
		}
		if (match !== at) old.insertBefore(match, at);
		else at = at.nextSibling;
		become(match, kid);
	}
	while (at) {
		const next = at.nextSibling;
		at.remove();
		at = next;
	}
}
function show(id, ...kids) {
	const old = $(id), focused = document.activeElement;
	const fresh = old.cloneNode(false);
	fresh.append(...kids.flat(2).filter(Boolean));
	become(old, fresh);
	if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
}

/** A table, if it has rows. Columns are words, with the classes of their cells behind them. Roles are said, for narrow screens lay it out otherwise. */
function table(name, columns, rows) {
	if (!rows.length) return h("p", null, t("none_yet"));
	const all = columns.split(" ").map((one) => one.split("."));
	const cell = (content, at) => h(["td", ...all[at].slice(1)].join("."), { role: "cell", "data-l": t(all[at][0]) }, content);
	const head = all.map(([key, kind]) => h("th" + (kind === "num" ? ".num" : ""), { role: "columnheader", scope: "col" }, t(key)));
	return h("div.wide", { tabindex: 0, role: "group", "aria-label": t(name) }, h("table", { role: "table", "aria-label": t(name) },
		h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
		h("tbody", { role: "rowgroup" }, rows.map(([key, cells]) => h("tr", { role: "row", "data-k": key }, all.map((_, at) => cell(cells[at], at)))))));
}
const soft = (...kids) => h("span.soft.small", null, kids);
const note = (...kids) => h("p.small.soft", null, kids);
const button = (act, words, more, kind = "") => h("button" + kind, { type: "button", "data-act": act, ...more }, words);
function pager(name, from, shown, total) {
	if (total <= ROWS) return null;
	return h("div.bar.small", null,
		h("span.soft", null, t("rows", number(total ? from + 1 : 0), number(from + shown), number(total))),
		button("page", t("previous"), { "data-page": name, "data-by": -1, disabled: from <= 0 }),
		button("page", t("next"), { "data-page": name, "data-by": 1, disabled: from + shown >= total }));
}
const section = (key, more, ...kids) =>
	h("section", { "data-k": key, id: key, "aria-label": t(key) }, h("div.bar", null, h("h2", null, t(key)), more), kids);

// ---- what is known
const S = {
	token: sessionStorage.getItem("token") || "",
	status: null, services: null, one: null, explained: null, space: null, candidates: null, connections: null, fleet: null,
	events: [], seen: 0, error: null, byName: false,
	route: null, offset: { services: 0, members: 0 }, filter: "",
	sort: "score", prefix: "", limit: FIRST_ROWS, cell: -1, history: new Map(), round: 0,
};
const mayWrite = () => S.status !== null && S.status.access === "write";
// Who leaves is only looked at.
const maySteer = () => mayWrite() && !S.one.is_leaving;

// ---- the API
class Refused extends Error {
	constructor(status, message) { super(message); this.status = status; }
}
async function call(path, method = "GET") {
	const headers = S.token ? { Authorization: "Bearer " + S.token } : {};
	const answer = await fetch(API + path, { method, headers, cache: "no-store", signal: AbortSignal.timeout(15000) });
	const body = await answer.json().catch(() => ({}));
	if (!answer.ok) {
		const faults = (body.errors || []).map((one) => `${one.key}: ${one.message}`);
		throw new Refused(answer.status, faults.length ? faults.join("; ") : body.error || String(answer.status));
	}
	return body;
}
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== 0)).toString();
const at = (name, what = "") => "services/" + encodeURIComponent(name) + what;

/** What is asked in a round: much of it not in each. One after the other, for the forwarder answers in one thread. Who stops lists none. */
async function look() {
	const route = S.route, nth = (n) => S.round % n === 0;
	const still = () => S.route === route;
	if (nth(5) || !S.status) {
		S.status = await call("status");
		S.fleet = S.status.fleet && (await call("fleet"));
	}
	const news = (await call("events?since=" + S.seen)).events;
	if (news.length) {
		// A new process begins to count anew.
		S.seen = news[news.length - 1].number;
		S.events = news.reverse().concat(S.events).slice(0, 1000);
	}
	if (route === null) {
		const services = await call("services?" + query({ contains: S.filter, offset: S.offset.services, limit: ROWS }));
		// A single service needs no list before it.
		if (services.total === 1) S.route = services.services[0].name;
		S.services = services;
		if (S.route !== route) return look();
	} else {
		const one = await call(at(route));
		if (!still()) return;
		S.one = one;
		remember(route, one);
		if (nth(one.members.length > 99 ? 9 : 2) || !S.explained) S.explained = await call(at(route, "/explain"));
		if (still() && (nth(2) || !S.candidates)) await lookAtCandidates();
		if (still() && (nth(5) || !S.space)) S.space = await call(at(route, "/space"));
	}
	if (still() && (nth(2) || !S.connections)) S.connections = await call("connections?limit=" + (route === null ? ROWS : 200)).catch((error) => { if (error.status !== 409) throw error; });
}
async function lookAtCandidates() {
	const route = S.route;
	const candidates = await call(at(route, "/candidates?") + query({ sort: S.sort, limit: S.limit, prefix: S.prefix }));
	if (S.route === route) S.candidates = candidates;
}
/** Keeps what charts are drawn from: half an hour at most, of few members. */
function remember(name, one) {
	let kept = S.history.get(name);
	if (!kept) S.history.set(name, (kept = []));
	const latencies = new Map(one.members.slice(0, DRAWN * 3).map((member) => [member.addr, member.latency_ms]));
	kept.push({ at: Date.now(), connections: one.connections, latencies });
	if (kept.length > MOST_POINTS) kept.shift();
}

let timer = null, busy = false, again = false;
async function round() {
	clearTimeout(timer);
	again = busy;
	if (busy) return;
	busy = true;
	const begun = performance.now();
	try {
		await look();
		S.error = null;
		S.byName = false;
	} catch (error) {
		S.byName = error instanceof Refused && error.status === 403;
		S.error = error instanceof Refused && error.status === 404 ? t("gone") : S.byName ? t("by_name") : t("no_answer", error.message);
	}
	S.round += 1;
	busy = false;
	render();
	document.documentElement.dataset.rounds = S.round;
	if (again) return round();
	// A forwarder that takes long to answer, or does not, is asked less often.
	const took = performance.now() - begun;
	if (!document.hidden) timer = setTimeout(round, Math.max(S.error ? 2 * PERIOD : PERIOD, 9 * took));
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });

// ---- charts
/** Steps of 1, 2 or 5 times a power of ten, about `count` of them up to `most`. */
function step(most, count) {
	const power = 10 ** Math.floor(Math.log10(most / count));
	return [1, 2, 5, 10].map((of) => of * power).find((one) => most / one <= count) || power * 10;
}
const SPANS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800];
/** Lines over time with axes and a unit; series are [class, points], points are [seconds before now, value or null]. */
function chart(label, series, unit, marks, whole) {
	const width = Math.max(270, $("main").clientWidth / (innerWidth < 1100 ? 1 : 2) - 58);
	const height = 190, left = 52, right = 12, top = 20, bottom = 24;
	const values = series.flatMap(([, points]) => points.map(([, value]) => value)).filter((value) => value !== null);
	const length = Math.max(30, ...series.flatMap(([, points]) => points.map(([ago]) => ago)));
	let by = step(Math.max(...values, whole ? 4 : 0.4), 4);
	if (whole) by = Math.max(1, by);
	const most = Math.ceil(Math.max(...values, by) / by) * by;
	const x = (ago) => left + (1 - ago / length) * (width - left - right);
	const y = (value) => top + (1 - value / most) * (height - top - bottom);
	const every = SPANS.find((one) => length / one <= width / 95) || 3600;
	const kids = [];
	for (let value = 0; value <= most + by / 2; value += by) {
		kids.push(h("line.axis", { x1: left, x2: width - right, y1: y(value), y2: y(value) }));
		kids.push(h("text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, number(value, by < 0.1 ? 2 : by < 1 ? 1 : 0)));
	}
	for (let ago = 0; ago <= length; ago += every) {
		kids.push(h("line.axis", { x1: x(ago), x2: x(ago), y1: height - bottom, y2: height - bottom + 4 }));
		const words = ago === 0 ? t("chart_now") : "−" + span(ago);
		kids.push(h("text", { x: x(ago), y: height - 6, "text-anchor": ago === 0 ? "end" : "middle" }, words));
	}
	kids.push(h("text", { x: 2, y: 11 }, unit));
	for (const ago of marks) if (ago < length) kids.push(h("line.mark", { x1: x(ago), x2: x(ago), y1: top, y2: height - bottom }));
	for (const [kind, points] of series) {
		let path = "", pen = false, drawn = 0;
		for (const [ago, value] of points) {
			if (value === null) { pen = false; continue; }
			path += `${pen ? "L" : "M"}${x(ago).toFixed(1)} ${y(value).toFixed(1)}`;
			pen = true;
			drawn += 1;
		}
		if (drawn === 1) path += "h.01";
		if (path) kids.push(h("path.l." + kind + (drawn === 1 ? ".dot" : ""), { d: path }));
	}
	const low = values.length ? Math.min(...values) : 0, high = values.length ? Math.max(...values) : 0;
	const words = t("chart_label", label, number(low, whole ? 0 : 2), number(high, whole ? 0 : 2), whole ? "" : unit, span(length));
	return h("svg.chart", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words }, kids);
}
const swatch = (kind) => h("svg", { viewBox: "0 0 18 12", "aria-hidden": "true" }, h("path.l." + kind, { d: "M0 6H18" }));
const square = (kind) => h("svg", { viewBox: "0 0 18 12", "aria-hidden": "true" }, h("rect." + kind, { width: 18, height: 12, rx: 2 }));

function charts(one) {
	const kept = S.history.get(one.name) || [], now = kept.length ? kept[kept.length - 1].at : 0;
	const drawn = one.members.slice(0, DRAWN);
	const line = (pick) => kept.map((point) => [(now - point.at) / 1000, pick(point)]);
	const value = (addr) => (point) => { const got = point.latencies.get(addr); return got === undefined ? null : got; };
	const switched = S.events.filter((event) => event.kind === "switch" && event.service === one.name);
	const marks = switched.map((event) => (now - Date.parse(event.time)) / 1000).filter((ago) => ago >= 0);
	const latency = drawn.map((member, nth) => ["l" + nth, line(value(member.addr))]);
	const has = kept.length && latency.some(([, points]) => points.some(([, got]) => got !== null));
	return h("div.cols.two", { "data-k": "charts" },
		section("latency_over", null,
			has ? chart(t("latency_over"), latency, "ms", marks, false) : h("p.soft", null, t("chart_wait")),
			h("ul.key", null, drawn.map((member, nth) => h("li", null, swatch("l" + nth), h("span.mono", null, member.addr), " ", ms(member.latency_ms)))),
			note(t("chart_note", span(PERIOD / 1000)), " ",
				one.members.length > DRAWN ? t("chart_some", DRAWN, number(one.members.length)) + " " : "", marks.length ? t("chart_marks") : "")),
		section("connections_over", null,
			kept.length ? chart(t("connections_over"), [["l3", line((point) => point.connections)]], t("connections"), marks, true) : null,
			note(t("chart_conn_note"))));
}

// ---- the searched space
const CELL = 26;
let cellsAcross = 1;
function heat() {
	const space = S.space, parts = space.prefixes;
	const width = Math.max(240, $("main").clientWidth - 36);
	cellsAcross = Math.max(4, Math.floor(width / CELL));
	const best = parts.map((part) => part.best_latency_ms).filter((value) => value !== null);
	const low = Math.min(...best), high = Math.max(...best);
	const spread = high > low * 1.05 ? Math.log(high / low) : 0;
	const edge = (nth) => low * Math.exp((spread * nth) / 5);
	const kind = (part) => {
		if (part.best_latency_ms === null) return part.known ? "q-none" : "q-unknown";
		return "q" + (spread ? Math.min(4, Math.floor((5 * Math.log(part.best_latency_ms / low)) / spread)) : 0);
	};
	const name = (part) => part.network || `${part.first} – ${part.last}`;
	const words = (part) => t("heat_cell", name(part), number(part.candidates), number(part.known), ms(part.best_latency_ms), percent(part.answering));
	const cell = (part, nth) => {
		const x = (nth % cellsAcross) * CELL, y = Math.floor(nth / cellsAcross) * CELL, size = CELL - 3;
		return h("g.cell", { role: "option", "data-act": "cell", "data-cell": nth, "aria-label": words(part), "aria-selected": String(S.cell === nth),
			tabindex: nth === Math.max(0, S.cell) ? 0 : -1, transform: `translate(${x + 1.5} ${y + 1.5})` },
			h("rect." + kind(part), { width: size, height: size, rx: 3 }),
			part.answering === null ? null : h("rect.share", { x: 2, y: size - 6, width: size - 4, height: 4 }),
			part.answering === null ? null : h("rect." + kind(part), { x: 2, y: size - 6, width: Math.max(0.01, (size - 4) * part.answering), height: 4 }),
			h("rect.rim", { width: size, height: size, rx: 3 }));
	};
	const known = parts.reduce((sum, part) => sum + part.known, 0);
	const chosen = parts[S.cell];
	const about = space.is_searched ? t("heat_model", number(known), number(space.listed), span(space.made_seconds_ago)) : t("heat_board");
	const ranges = best.length ? (spread ? [0, 1, 2, 3, 4] : [0]).map((nth) => [`q${nth}`, spread ? `${ms(edge(nth))} – ${ms(edge(nth + 1))}` : ms(low)]) : [];
	const rows = Math.ceil(parts.length / cellsAcross);
	return section("heat", null,
		note(about + " " + t("heat_note", number(parts.length))),
		parts.length ? h("svg.heat", { viewBox: `0 0 ${width} ${rows * CELL + 2}`, role: "listbox", "aria-label": t("heat") }, parts.map(cell)) : h("p", null, t("none_yet")),
		h("ul.key", null, ranges.concat([["q-none", t("heat_none")], ["q-unknown", t("heat_unknown")]]).map(([of, text]) => h("li", null, square(of), text))),
		h("div.note", null, chosen
			? h("div.bar", null, h("span", null, words(chosen)), chosen.network && chosen.known ? button("prefix", t("heat_show"), { "data-prefix": chosen.network }) : null)
			: h("span.soft", null, t("heat_pick"))));
}

// ---- scores
const PARTS = ["latency", "jitter", "success", "throughput", "bonus", "penalty"];
function scale(rows) {
	const sums = rows.map((row) => (row.parts ? PARTS.slice(0, 5).reduce((sum, part) => sum + row.parts[part], 0) : row.score));
	return Math.ceil(Math.max(100, ...sums) / 10) * 10;
}
/** The score as a number, as a bar of its parts, and, opened, as a list of them. */
function score(row, most) {
	const total = number(row.score, 1);
	if (!row.parts) return h("span.big", null, total);
	let x = 0;
	const bars = PARTS.slice(0, 5).map((part, nth) => {
		const width = Math.max(0, row.parts[part]);
		x += width;
		return width ? h("rect.p" + nth, { x: x - width, width, height: 10 }) : null;
	});
	const lost = Math.min(x, row.parts.penalty);
	if (lost > 0) bars.push(h("rect.p5", { x: x - lost, y: 3, width: lost, height: 7 }));
	const words = PARTS.filter((part) => row.parts[part]).map((part) => [part, (part === "penalty" ? "−" : "+") + number(row.parts[part], 1)]);
	return h("details.score", null,
		h("summary", null, h("b", null, total), h("svg", { viewBox: `0 0 ${most} 10`, preserveAspectRatio: "none", "aria-hidden": "true" }, bars)),
		h("ul", null, words.map(([part, value]) => h("li", null, t(part), " ", value))));
}
const scoreKey = (most) => h("div", null,
	h("ul.key", null, PARTS.map((part, nth) => h("li", null, square("p" + nth), t(part)))),
	note(t("parts_note", most)));

const STATES = { ready: "good", drain: "warn", maintenance: "bad" };
const tag = (kind, name) => h("span.tag." + kind, null, t(name));
const stateTag = (state) => (state === "ready" ? null : tag(STATES[state], state));
const who = (row, ...tags) => [row.addr, " ", row.name, " ", stateTag(row.state), tags];
function actions(row) {
	const one = (act) => button("steer", t(act), { "data-to": act, "data-addr": row.addr, title: t(act + "_hint"), "aria-label": `${t(act)} ${row.addr}` });
	const all = row.state === "ready" ? ["drain", "maintenance", "probe"] : row.state === "drain" ? ["ready", "probe"] : ["ready"];
	return all.map(one);
}
/** Columns of candidates; what may be done with one stands last, for those who may. */
const withActions = (columns) => "address.head.addr.mono" + columns + (maySteer() ? " actions.acts" : "");

// ---- views
const footing = (one) => {
	if (!one.active_set.length) return ["bad", "no_members"];
	if (one.is_leaving) return ["idle", "leaving"];
	if (one.is_asleep) return ["idle", "asleep"];
	return [{ good: "good", last_good: "warn", best_scored: "bad" }[one.footing], one.footing];
};
const tagOf = (one) => tag(...footing(one));
/** Connections, and how many of them wait for a place. */
const crowd = (one) => number(one.connections) + (one.queued ? ` (${word("st", "queued")}: ${number(one.queued)})` : "");
const stat = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

function overview() {
	const all = S.services;
	const rows = all.services.map((one) => [one.name, [
		h("a", { href: "#/" + one.name }, one.name), tagOf(one),
		number(one.active_set.length), crowd(one), number(one.candidates),
		some(one.listen_addrs, 3) || "–"]]);
	const filter = h("label.small", null, h("span.soft", null, t("filter"), " "), h("input", { type: "search", id: "filter", size: 14, maxlength: 32, pattern: "[a-z0-9_\\-]*" }));
	return [
		section("services", [h("span.grow"), all.total > 8 ? filter : null, pager("services", S.offset.services, all.services.length, all.matching)],
			table("services", "service.head state members.num connections.num candidates.num listens.mono", rows)),
		connections(null), fleet(), events(null)];
}

/** Connections; where there is a limit, of how many. */
const taken = (row) => row.max_connections ? [row.is_full && tag("warn", "full"), ` ${number(row.open)} / ${number(row.max_connections)}`] : number(row.connections);
function membersSection(one) {
	const from = Math.min(S.offset.members, Math.max(0, one.members.length - 1));
	const shown = one.members.slice(from, from + ROWS), most = scale(shown);
	const rows = shown.map((row) => [row.addr, [
		who(row), score(row, most), ms(row.latency_ms), taken(row),
		`${number(row.warm)} / ${number(row.target)}`, number(row.requests), span(row.member_seconds), actions(row)]]);
	return section("members", [h("span.grow"), pager("members", from, shown.length, one.members.length)],
		table("members", withActions(" score latency.num connections.num warm.num requests.num member_for.num"), rows), rows.length ? scoreKey(most) : null,
		one.withdrawn_candidates.length ? h("div", null, h("h3", null, t("withdrawn")),
			table("withdrawn", withActions(""), one.withdrawn_candidates.slice(0, 200).map((row) => ["out" + row.addr, [who(row), actions(row)]]))) : null);
}

function why() {
	const said = S.explained, rules = said.rules;
	const english = lang === "en";
	const rows = said.others.map((row) => [row.addr, [
		who(row), number(row.score, 1), ms(row.latency_ms),
		english ? row.text : word("why", row.distrust ? row.reason + "_" + row.distrust : row.reason), row.change ? h("span", { lang: "en" }, row.change) : "–"]]);
	const words = said.text.map((line) => h("p", { lang: "en" }, line));
	return section("why", null,
		said.pause ? h("p", null, word("pause", said.pause)) : null,
		english ? words : h("details", null, h("summary", null, t("original")), words),
		rules ? note(t("rules", rules.active_set_size, number(rules.min_score_threshold), rules.confirm_probes,
			number(rules.score_improvement_threshold), percent(rules.latency_improvement_ratio), span(rules.debounce_seconds))) : null,
		rows.length ? [h("h3", null, t("why_out")),
			table("why_out", "address.head.addr.mono score.num latency.num reason.text change.text", rows)] : null);
}

function candidates() {
	const told = S.candidates, most = scale(told.candidates);
	const rows = told.candidates.map((row) => [row.addr, [
		who(row, row.is_member && tag("good", "member"), !row.is_trusted && tag("bad", "distrusted"), row.is_recalled && tag("idle", "recalled")),
		score(row, most), ms(row.latency_ms), ms(row.jitter_ms),
		`${number(row.answers)} / ${percent(row.success_rate)}`, t("ago", span(row.sample_seconds_ago)), actions(row)]]);
	const option = (name) => h("option", { value: name, selected: name === S.sort }, word("sort", name));
	return section("candidates", [
		soft(t("matching", number(told.matching), number(told.known))), h("span.grow"),
		h("label.small", null, h("span.soft", null, t("sort"), " "), h("select", { id: "sort" }, ["score", "latency", "age", "addr"].map(option))),
		h("input", { type: "search", id: "prefix", size: 22, placeholder: t("prefix"), "aria-label": t("prefix"), spellcheck: "false" })],
		table("candidates", withActions(" score latency.num jitter.num success_rate.num sampled.num"), rows),
		told.matching > rows.length && S.limit < 1000 ? button("more", t("more"), null) : null);
}

function connections(name) {
	const told = S.connections;
	if (!told) return null;
	const all = told.connections, mine = name === null ? all : all.filter((row) => row.service === name);
	const rows = mine.map((row) => [`${row.client}>${row.listener}`, [
		row.client, ...(name === null ? [row.service] : []), [row.backend || "–", " ", row.backend_name],
		row.via ? word("via", row.via) : "–", word("st", row.stage), span(row.age_seconds), span(row.idle_seconds),
		bytes(row.bytes_to_backend), bytes(row.bytes_to_client)]]);
	const columns = `client.head.addr.mono${name === null ? " service" : ""} backend.addr.mono via stage age.num idle.num to_backend.num to_client.num`;
	const words = name === null || all.length === mine.length ? "oldest" : "oldest_here";
	return section("connections", soft(t(words, number(all.length), number(told.total))),
		table("connections", columns, rows.slice(0, ROWS)));
}

/** Who shares what it knows; the nodes of before, where no exchange succeeds. */
function fleet() {
	const told = S.fleet;
	if (!told) return null;
	const probed = told.services.flatMap((one) => one.members);
	const row = (one, ...tags) => [one.id, [[one.node || one.id, " ", tags], one.vantage, (one.spoke_seconds_ago ?? -1) >= 0 ? t("ago", span(one.spoke_seconds_ago)) : "–",
		number(probed.filter((member) => member.id === one.id).length)]];
	const others = told.nodes.slice(0, ROWS).map((one) => row(one, one.link === "down" && tag("bad", "link_down")));
	return section("fleet", [soft(told.cluster), told.is_connected ? tag("good", "live") : tag("bad", "offline"), told.nodes.length > ROWS && soft(t("rows", 1, ROWS, number(told.nodes.length)))],
		told.is_connected || !told.last_failure ? null : h("p", { lang: "en" }, told.last_failure.message),
		table("fleet", "node.head vantage spoke.num probes.num", [row(told.me, tag("idle", "this_one")), ...others]));
}

/** What an event says; by its own words where a newer forwarder tells of something else. */
function said(event) {
	const d = event.details;
	switch (event.kind) {
		case "switch": return t("ev_switch", word("sw", d.reason), list(d.joined), list(d.left), number(d.mean_before, 1), number(d.mean_after, 1));
		case "footing": return d.footing === "good" ? t("ev_footing_good") : word("hint", d.footing);
		case "sleep": return d.is_asleep ? t("ev_sleep") : t("ev_wake");
		case "link_down": return t("ev_link_down", d.failed);
		case "link_back": return t("ev_link_back", span(d.after_seconds));
		case "uplink": return t("ev_uplink");
		case "reload": return t("ev_reload", d.changes.length ? d.changes.join("; ") : t("nothing_changed"));
		case "reload_refused": return t("ev_reload_refused", d.faults.join("; "));
		case "admin_state": return t("ev_admin_state", d.backend, t(d.state));
		case "probe": return d.backend ? t("ev_probe", d.backend) : t("ev_probe_all");
		case "log_level": return t("ev_log_level", d.level);
		default: return event.text;
	}
}
function events(name) {
	const mine = S.events.filter((event) => name === null || event.service === name || event.service === null).slice(0, ROWS);
	const time = (event) => new Date(event.time).toLocaleString(LOCALES[lang], { dateStyle: "short", timeStyle: "medium" });
	return section("events", soft(t("events_note"), " ", t("since_hint")),
		mine.length ? h("ul.plain", null, mine.map((event) => h("li", { "data-k": "e" + event.number },
			h("time", { datetime: event.time }, time(event)), h("span.tag", null, event.service || t("process")), " ", said(event)))) : h("p", null, t("none_yet")));
}

function serviceView() {
	const one = S.one;
	const hint = one.is_asleep ? t("hint_asleep") : one.footing === "good" ? null : word("hint", one.footing);
	const isAlone = S.services && S.services.total === 1;
	return [
		h("section", { "data-k": "head", "aria-label": one.name },
			h("div.bar", null, isAlone ? null : h("a", { href: "#/" }, "← ", t("all_services")), h("h2.name", null, one.name), tagOf(one), h("span.soft.mono", null, one.listen_addrs.join(", ")), h("span.grow"),
				maySteer() ? button("probe-all", t("probe_all")) : null),
			hint ? h("p", null, hint) : null,
			h("dl.stats", null, stat(t("members"), number(one.members.length)), stat(t("connections"), crowd(one)),
				stat(t("known"), `${number(one.known)} / ${number(one.candidates)}`), stat(t("answering"), number(one.answering)),
				stat(t("evaluated"), one.evaluated_seconds_ago === null ? "–" : t("ago", span(one.evaluated_seconds_ago))))),
		membersSection(one), charts(one), S.explained && why(), S.space && heat(), S.candidates && candidates(), connections(one.name), fleet(), events(one.name)];
}

function head() {
	const status = S.status;
	const login = () => {
		if (S.byName) return button("token", t("token_give"));
		if (!status || status.access === "read") return status && tag("idle", "read_only");
		if (status.access === "needs_token") return button("token", t("token_give"));
		return [button("reload", t("reload")), S.token ? button("forget", t("token_drop")) : null];
	};
	return h("div.bar", null,
		h("a.brand", { href: "#/" }, h("img", { src: "/icon.svg", alt: "" }), h("h1", null, "tcp-forwarder")),
		h("span.live.small" + (S.error ? ".off" : ""), null, S.error ? t("offline") : t("live")),
		status ? soft(t("up_for", span(status.uptime_seconds))) : null,
		h("span.grow"), login(), button("language", t("language"), { lang: lang === "zh" ? "en" : "zh" }));
}
function foot() {
	const status = S.status, last = status && status.last_reload;
	if (!status) return null;
	const link = h("a", { href: "/api/v1/openapi.json" }, "/api/v1/openapi.json");
	const [before, behind] = t("foot", status.version, status.pid, new Date(status.started).toLocaleString(lang), "\u0000").split("\u0000");
	return [h("p", null, before, link, behind),
		last ? h("p", null, `${t("last_reload")}: ${word("reload", last.result)}. `, last.changes.concat(last.errors.map((one) => `${one.key}: ${one.message}`)).join("; "), status.restart_needed ? " — " + t("restart_needed") : "") : null];
}
function render() {
	document.documentElement.lang = LOCALES[lang];
	document.title = (S.route ? S.route + " · " : "") + t("title");
	const view = S.route === null ? S.services && overview() : S.one && S.one.name === S.route ? serviceView() : null;
	show("top", head());
	show("main", S.error ? h("p.say-error", { role: "alert", "data-k": "error" }, S.error) : null, view || (S.error ? null : h("p.soft", null, t("waiting"))));
	show("foot", foot());
}

// ---- what is done
let saying = null;
function say(words, isBad, undo) {
	clearTimeout(saying);
	$("say").replaceChildren(h("div.bar" + (isBad ? ".bad" : ""), null, words, undo ? button("steer", t("undo"), undo) : null));
	saying = setTimeout(() => $("say").replaceChildren(), 8000);
}
async function act(work) {
	try {
		await work();
	} catch (error) {
		say(t("failed", error.message), true);
		if (error instanceof Refused && error.status === 401) S.status = null;
	}
	S.explained = S.candidates = null;
	round();
}
async function steer(to, addr) {
	const answer = await call(at(S.route, `/${to}?` + query({ backend: addr })), "POST");
	if (to === "probe") return say(t("done_probe", addr));
	say(t("done_state", addr, t(to)), false, answer.was === to ? null : { "data-to": answer.was, "data-addr": addr });
}
function askToken() {
	const dialog = $("ask");
	dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", { id: "ask-title" }, t("token_title")), note(t("token_note")),
		h("input", { type: "password", id: "token", autocomplete: "off", required: true, "aria-labelledby": "ask-title" }),
		h("div.bar", null, h("button.main", { type: "submit", value: "ok" }, t("ok")), button("close", t("cancel")))));
	dialog.showModal();
}
$("ask").addEventListener("submit", async () => {
	const typed = $("token");
	S.token = typed.value;
	typed.value = "";
	try {
		S.status = await call("status");
		if (!mayWrite()) throw new Error("wrong");
		sessionStorage.setItem("token", S.token);
		say(t("token_ok"));
	} catch {
		S.token = "";
		say(t("token_wrong"), true);
	}
	round();
});

const ACTS = {
	page: (on) => { const name = on.dataset.page; S.offset[name] = Math.max(0, S.offset[name] + ROWS * Number(on.dataset.by)); if (name === "services") round(); render(); },
	more: () => { S.limit = Math.min(1000, S.limit * 2); act(async () => {}); },
	language: () => { lang = lang === "zh" ? "en" : "zh"; sessionStorage.setItem("lang", lang); render(); },
	token: askToken,
	close: () => $("ask").close(),
	forget: () => { S.token = ""; sessionStorage.removeItem("token"); S.status = null; round(); },
	steer: (on) => act(() => steer(on.dataset.to, on.dataset.addr)),
	"probe-all": () => act(async () => { await call(at(S.route, "/probe"), "POST"); say(t("done_probe_all")); }),
	reload: () => act(async () => { const done = await call("reload", "POST"); S.status = null; say(t("done_reload", (done.changes || []).join("; ") || t("nothing_changed"))); }),
	cell: (on) => { S.cell = Number(on.dataset.cell); render(); },
	prefix: (on) => { S.prefix = on.dataset.prefix; $("prefix").value = S.prefix; act(async () => {}); $("candidates").scrollIntoView(); },
};
document.addEventListener("click", (event) => {
	const on = event.target.closest("[data-act]");
	if (on) ACTS[on.dataset.act](on);
});
document.addEventListener("keydown", (event) => {
	const on = event.target.closest?.(".cell");
	const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: cellsAcross, ArrowUp: -cellsAcross, Home: -1e4, End: 1e4, Enter: 0, " ": 0 }[event.key];
	if (!on || by === undefined) return;
	event.preventDefault();
	S.cell = Math.max(0, Math.min(S.space.prefixes.length - 1, Number(on.dataset.cell) + by));
	render();
	document.querySelector(`[data-cell="${S.cell}"]`).focus();
});
let typing = null;
document.addEventListener("input", (event) => {
	const { id, value } = event.target;
	const later = (work) => { clearTimeout(typing); typing = setTimeout(work, 300); };
	if (id === "filter") later(() => { S.filter = value.toLowerCase().replace(/[^a-z0-9_-]/g, ""); S.offset.services = 0; round(); });
	if (id === "prefix") later(() => { S.prefix = value.trim(); S.limit = FIRST_ROWS; act(lookAtCandidates); });
	if (id === "sort") { S.sort = value; act(lookAtCandidates); }
});
function go() {
	S.route = decodeURIComponent(location.hash.replace(/^#\/?/, "")) || null;
	S.one = S.explained = S.space = S.candidates = S.connections = null;
	Object.assign(S, { prefix: "", limit: FIRST_ROWS, cell: -1, error: null });
	S.offset.members = 0;
	render();
	round();
}
addEventListener("hashchange", () => { go(); $("main").focus(); scrollTo(0, 0); });
let sized = null;
addEventListener("resize", () => { clearTimeout(sized); sized = setTimeout(render, 150); });
go();
