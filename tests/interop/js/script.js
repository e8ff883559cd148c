// Exports spans with one exporter of the OpenTelemetry SDK, and prints what was sent, as JSON, one span a line.
// Usage: node script.js grpc|proto|json ADDRESS
'use strict';

const { trace, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState } = require('@opentelemetry/api');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchSpanProcessor, InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');

const [encoding, address] = process.argv.slice(2);
const packages = { grpc: 'grpc', proto: 'proto', json: 'http' };
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${packages[encoding]}`);
const url = encoding === 'grpc' ? `http://${address}` : `http://${address}/v1/traces`;

const memory = new InMemorySpanExporter();
let failure = null;
const exporter = new OTLPTraceExporter({ url });
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) =>
  send(spans, (result) => {
    if (result.code !== 0) failure = result.error ?? new Error('the export failed');
    done(result);
  });

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': `js-${encoding}`, 'service.version': '1.2.3', 'host.name': 'node-1', list: ['a', 'b'] }),
  spanProcessors: [new BatchSpanProcessor(exporter), new SimpleSpanProcessor(memory)],
  spanLimits: { attributeCountLimit: 12 },
});
const tracer = provider.getTracer('interop', '0.9.0', { schemaUrl: 'https://opentelemetry.io/schemas/1.36.0' });

function shop() {
  const root = tracer.startSpan('GET /cart', { kind: SpanKind.SERVER, attributes: { 'http.route': '/cart', 'http.request.method': 'GET' } }, ROOT_CONTEXT);
  const inside = trace.setSpan(ROOT_CONTEXT, root);
  const call = tracer.startSpan('GET', { kind: SpanKind.CLIENT }, inside);
  call.setAttributes({
    text: 'Grüße, 世界 \u{1F600} "\\\n',
    empty: '',
    yes: true,
    no: false,
    whole: 42,
    negative: -7,
    large: Number.MAX_SAFE_INTEGER,
    fraction: 0.1,
    tiny: -5e-324,
    texts: ['a', '', 'ü'],
    numbers: [1, 2.5, -3],
    flags: [true, false],
    'one too many': 'dropped',
  });
  call.addEvent('first', { attempt: 1, ok: false });
  call.addEvent('second', [1700000000, 123456789]);
  call.recordException(new TypeError('broken <b>pipe</b>'));
  call.setStatus({ code: SpanStatusCode.ERROR, message: 'not today' });
  call.end();
  const elsewhere = { traceId: 'f'.repeat(32), spanId: 'ABCDEF0123456789'.toLowerCase(), traceFlags: TraceFlags.SAMPLED, traceState: createTraceState('a=b,c=d') };
  const links = [{ context: elsewhere, attributes: { why: 'batch', n: 3 } }, { context: root.spanContext() }];
  tracer.startSpan('orders process', { kind: SpanKind.CONSUMER, links }, inside).end();
  tracer.startSpan('orders publish', { kind: SpanKind.PRODUCER, startTime: [1700000000, 1] }, inside).end([1700000000, 999999999]);
  root.setStatus({ code: SpanStatusCode.OK });
  root.end();

  const remote = { traceId: '0123456789abcdef0123456789abcdef', spanId: '00f067aa0ba902b7', traceFlags: 1, isRemote: true, traceState: createTraceState('vendor=x') };
  tracer.startSpan('continued', {}, trace.setSpanContext(ROOT_CONTEXT, remote)).end();
  for (let n = 0; n < 600; n += 1) {
    tracer.startSpan(`span ${n}`, { attributes: { n } }, inside).end();
  }
}

function sent(span) {
  const time = ([seconds, nanos]) => (BigInt(seconds) * 1000000000n + BigInt(nanos)).toString();
  return {
    trace_id: span.spanContext().traceId,
    span_id: span.spanContext().spanId,
    trace_state: span.spanContext().traceState?.serialize() ?? '',
    trace_flags: span.spanContext().traceFlags,
    parent_span_id: span.parentSpanContext?.spanId ?? '',
    parent_is_remote: Boolean(span.parentSpanContext?.isRemote),
    name: span.name,
    kind: span.kind,
    start: time(span.startTime),
    end: time(span.endTime),
    attributes: span.attributes,
    dropped_attributes: span.droppedAttributesCount,
    events: span.events.map((event) => ({ name: event.name, time: time(event.time), attributes: event.attributes ?? {} })),
    links: span.links.map((link) => ({
      trace_id: link.context.traceId,
      span_id: link.context.spanId,
      trace_state: link.context.traceState?.serialize() ?? '',
      attributes: link.attributes ?? {},
    })),
    status: span.status,
    resource: span.resource.attributes,
    scope: span.instrumentationScope,
  };
}

async function main() {
  shop();
  await provider.forceFlush();
  for (const span of memory.getFinishedSpans()) console.log(JSON.stringify(sent(span)));
  await provider.shutdown();
  if (failure) throw failure;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
